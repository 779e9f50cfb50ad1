package operation

import (
	"math"
	"slices"
)

// Run is a sequence of consecutive encoded operations over one byte slice,
// which it aliases: who made it must not change the bytes afterwards. In Fixed
// it holds nothing but the bytes, in Variable four bytes per operation beside
// them. The zero Run is empty. It implements mmr.Elements.
type Run struct {
	bytes []byte
	size  int // of every operation; 0: ends says where they end
	// Ends of the operations as offsets from the start of the run that this
	// one was cut from, which is base bytes before bytes[0].
	ends []uint32
	base uint32
}

// Len is the number of operations.
func (r Run) Len() int {
	if r.size > 0 {
		return len(r.bytes) / r.size
	}
	return len(r.ends)
}

// At is the i-th operation; it aliases the run and must not be changed.
func (r Run) At(i int) []byte {
	if r.size > 0 {
		return r.bytes[i*r.size : (i+1)*r.size : (i+1)*r.size]
	}
	lo, hi := r.offset(i), r.offset(i+1)
	return r.bytes[lo:hi:hi]
}

// Bytes are all operations, one after the other; they alias the run and must
// not be changed.
func (r Run) Bytes() []byte { return r.bytes }

// Slice is the run of the operations [i, j); it aliases r.
func (r Run) Slice(i, j int) Run {
	if r.size > 0 {
		return Run{bytes: r.bytes[i*r.size : j*r.size : j*r.size], size: r.size}
	}
	lo, hi := r.offset(i), r.offset(j)
	return Run{bytes: r.bytes[lo:hi:hi], ends: r.ends[i:j:j], base: r.base + uint32(lo)}
}

// offset is where the i-th operation begins, Len() allowed.
func (r Run) offset(i int) int {
	if i == 0 {
		return 0
	}
	return int(r.ends[i-1] - r.base)
}

// minOperation is the length in bytes of the shortest operation of any
// family in Variable: a tag and an empty byte string.
const minOperation = 2

// Split takes the first count operations off b, checking each in full, and
// returns them and the rest of b, both aliasing b. Memory is bounded by
// len(b), whatever count says. Errors are *DecodeError.
func (c Codec) Split(b []byte, count int) (Run, []byte, error) {
	if count < 0 {
		return Run{}, nil, &DecodeError{Reason: "negative count"}
	}
	if size := c.Size(); size > 0 {
		if count > len(b)/size {
			return Run{}, nil, &DecodeError{Offset: len(b), Reason: "operations cut short"}
		}
		n := count * size
		// An operation that its key and value fill says nothing wrong but
		// its tag: nearly all of them, so they are not looked at further.
		full, plain := c.fullTag()
		for i := 0; i < n; i += size {
			if plain && b[i] == full {
				continue
			}
			if _, err := c.parseFixed(b[i : i+size : i+size]); err != nil {
				return Run{}, nil, at(i, err)
			}
		}
		return Run{bytes: b[:n:n], size: size}, b[n:], nil
	}
	if count > len(b)/minOperation || len(b) > math.MaxUint32 {
		return Run{}, nil, &DecodeError{Offset: len(b), Reason: "operations cut short"}
	}
	ends := make([]uint32, count)
	n := 0
	for i := range ends {
		_, m, err := c.parseVariable(b[n:])
		if err != nil {
			return Run{}, nil, at(n, err)
		}
		n += m
		ends[i] = uint32(n)
	}
	return Run{bytes: b[:n:n], ends: ends}, b[n:], nil
}

// fullTag is the tag of the operations of Fixed that have a key and a value
// and no padding, and whether there are such.
func (c Codec) fullTag() (byte, bool) {
	k, v := c.widths()
	switch {
	case c.Size() != 1+k+v:
		return 0, false
	case c.family == Any:
		return tagAnyUpdate, true
	case c.family == Immutable:
		return tagImmutableSet, true
	}
	return 0, false
}

// NewRun is the run of the operations that b consists of; bytes left over are
// an error. Errors are *DecodeError.
func (c Codec) NewRun(b []byte) (Run, error) {
	if size := c.Size(); size > 0 {
		run, rest, err := c.Split(b, len(b)/size)
		if err == nil && len(rest) > 0 {
			err = &DecodeError{Offset: len(b) - len(rest), Reason: "bytes left over"}
		}
		if err != nil {
			return Run{}, err
		}
		return run, nil
	}
	if len(b) > math.MaxUint32 {
		return Run{}, &DecodeError{Reason: "more than 4 GiB of operations"}
	}
	var ends []uint32
	for n := 0; n < len(b); {
		_, m, err := c.parseVariable(b[n:])
		if err != nil {
			return Run{}, at(n, err)
		}
		n += m
		ends = append(ends, uint32(n))
	}
	return Run{bytes: slices.Clip(b), ends: ends}, nil
}
