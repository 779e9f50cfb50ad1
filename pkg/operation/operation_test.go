package operation_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/proofsync/proofsync/internal/vectors"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
)

var codecs = allCodecs()

func allCodecs() map[string]operation.Codec {
	codecs := map[string]operation.Codec{}
	for _, f := range []operation.Family{operation.Any, operation.Immutable, operation.Keyless} {
		for _, e := range []operation.Encoding{operation.Fixed, operation.Variable} {
			c := operation.NewCodec(f, e)
			codecs[c.String()] = c
		}
	}
	return codecs
}

func equal(a, b operation.Operation) bool {
	return a.Kind == b.Kind && a.Floor == b.Floor && bytes.Equal(a.Key, b.Key) &&
		bytes.Equal(a.Value, b.Value) && (a.Value == nil) == (b.Value == nil)
}

func TestDecoderTakesWhatThePeerTakes(t *testing.T) {
	all := vectors.OperationCodecs(t)
	for name, codec := range codecs {
		if len(all[name]) == 0 {
			t.Fatalf("%s: no cases", name)
		}
		codec = codec.WithMaxBytes(100_000)
		for _, c := range all[name] {
			op, err := codec.Decode(c.Op)
			if (err == nil) != c.Decodes {
				t.Errorf("%s: %.80x: %v, peer decodes: %v", name, c.Op, err, c.Decodes)
			}
			if err != nil {
				if !errors.Is(err, operation.ErrDecode) {
					t.Errorf("%s: %.80x: untyped error %v", name, c.Op, err)
				}
				continue
			}
			again, err := codec.Append(nil, op)
			if err != nil || !bytes.Equal(again, c.Op) {
				t.Errorf("%s: %.80x encodes to %.80x, %v", name, c.Op, again, err)
			}
		}
	}
}

func TestRecordedOperationsDecodeAndEncodeToTheSameBytes(t *testing.T) {
	seen := map[string]int{}
	for _, w := range append(vectors.Workloads(t), vectors.ProofWorkloads(t)...) {
		codec, ok := codecs[w.Codec()]
		if !ok {
			continue // ordered
		}
		codec = codec.WithMaxBytes(100_000)
		check := func(s vectors.State) {
			for _, b := range s.Ops {
				op, err := codec.Decode(b)
				if err != nil {
					t.Fatalf("%s: %s: %x: %v", w.File, w.Name, b, err)
				}
				again, err := codec.Append(nil, op)
				if err != nil || !bytes.Equal(again, b) {
					t.Fatalf("%s: %s: %x encodes to %x, %v", w.File, w.Name, b, again, err)
				}
				seen[w.Codec()]++
			}
			if len(s.Ops) > 0 {
				if op, _ := codec.Decode(s.Ops[len(s.Ops)-1]); op.Kind != operation.Commit || op.Floor != s.Floor {
					t.Errorf("%s: %s: last operation %+v, floor %d", w.File, w.Name, op, s.Floor)
				}
			}
		}
		check(w.Initial)
		for _, c := range w.Commits {
			check(c.State)
		}
	}
	for _, name := range []string{"any/fixed", "any/variable", "immutable/fixed", "immutable/variable", "keyless/fixed"} {
		if seen[name] < 90 {
			t.Errorf("%s: only %d operations", name, seen[name])
		}
	}
}

// drawOperation draws any operation of the family that the codec stores.
func drawOperation(t *rapid.T, c operation.Codec) operation.Operation {
	item := rapid.SliceOfN(rapid.Byte(), 0, 200)
	if c.Encoding() == operation.Fixed {
		item = rapid.SliceOfN(rapid.Byte(), operation.ItemSize, operation.ItemSize)
	}
	kinds := map[operation.Family][]operation.Kind{
		operation.Any:       {operation.Update, operation.Delete, operation.Commit},
		operation.Immutable: {operation.Set, operation.Commit},
		operation.Keyless:   {operation.Append, operation.Commit},
	}[c.Family()]
	op := operation.Operation{Kind: rapid.SampledFrom(kinds).Draw(t, "kind")}
	switch op.Kind {
	case operation.Update, operation.Set:
		op.Key, op.Value = item.Draw(t, "key"), item.Draw(t, "value")
	case operation.Delete:
		op.Key = item.Draw(t, "key")
	case operation.Append:
		op.Value = item.Draw(t, "value")
	case operation.Commit:
		if rapid.Bool().Draw(t, "has metadata") {
			op.Value = item.Draw(t, "metadata")
		}
		op.Floor = rapid.Uint64Range(0, mmr.MaxLeaves).Draw(t, "floor")
	}
	return op
}

func TestEncodingRoundTrips(t *testing.T) {
	for name, c := range codecs {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			var all []byte
			var ops []operation.Operation
			var ends []int
			for range rapid.IntRange(0, 20).Draw(t, "operations") {
				op := drawOperation(t, c)
				b, err := c.Append(nil, op)
				if err != nil {
					t.Fatalf("%+v: %v", op, err)
				}
				back, err := c.Decode(b)
				if err != nil || !equal(op, back) {
					t.Fatalf("%+v decodes to %+v, %v", op, back, err)
				}
				if kind, ok := c.KindOf(b); !ok || kind != op.Kind {
					t.Fatalf("%s: kind %s, %v", op.Kind, kind, ok)
				}
				if n := c.Size(); n > 0 && n != len(b) {
					t.Fatalf("%d bytes, want %d", len(b), n)
				}
				all, ops, ends = append(all, b...), append(ops, op), append(ends, len(all)+len(b))
			}
			run, rest, err := c.Split(append(all, 0xEE), len(ops))
			if err != nil || !bytes.Equal(rest, []byte{0xEE}) || !bytes.Equal(run.Bytes(), all) {
				t.Fatalf("split: rest %x, %v", rest, err)
			}
			whole, err := c.NewRun(all)
			if err != nil || whole.Len() != len(ops) {
				t.Fatalf("new run of %d operations: %d, %v", len(ops), whole.Len(), err)
			}
			i := rapid.IntRange(0, len(ops)).Draw(t, "i")
			j := rapid.IntRange(i, len(ops)).Draw(t, "j")
			k := rapid.IntRange(0, j-i).Draw(t, "k")
			cut := run.Slice(i, j).Slice(k, j-i) // a slice of a slice
			if cut.Len() != j-i-k {
				t.Fatalf("slice [%d, %d) has %d operations", i+k, j, cut.Len())
			}
			for m := range cut.Len() {
				at := i + k + m
				start := 0
				if at > 0 {
					start = ends[at-1]
				}
				if want := all[start:ends[at]]; !bytes.Equal(cut.At(m), want) || !bytes.Equal(whole.At(at), want) {
					t.Fatalf("operation %d is %x and %x, want %x", at, cut.At(m), whole.At(at), want)
				}
				if n, err := c.Next(all[start:]); err != nil || n != ends[at]-start {
					t.Fatalf("next is %d bytes, %v", n, err)
				}
			}
			if i+k < j {
				first := 0
				if i+k > 0 {
					first = ends[i+k-1]
				}
				if !bytes.Equal(cut.Bytes(), all[first:ends[j-1]]) {
					t.Fatalf("bytes of the slice: %x", cut.Bytes())
				}
			}
		}))
	}
}

func TestCheckRefusesWhatMustNotBeStored(t *testing.T) {
	b32, b31 := make([]byte, 32), make([]byte, 31)
	for _, c := range []struct {
		why   string
		codec string
		op    operation.Operation
		want  error
	}{
		{"kind of another family", "any/fixed", operation.Operation{Kind: operation.Set, Key: b32, Value: b32}, operation.ErrKind},
		{"kind of another family", "immutable/fixed", operation.Operation{Kind: operation.Delete, Key: b32}, operation.ErrKind},
		{"no such kind", "any/fixed", operation.Operation{Kind: 9}, operation.ErrKind},
		{"short key", "any/fixed", operation.Operation{Kind: operation.Delete, Key: b31}, operation.ErrKeySize},
		{"no key", "immutable/fixed", operation.Operation{Kind: operation.Set, Value: b32}, operation.ErrKeySize},
		{"short value", "immutable/fixed", operation.Operation{Kind: operation.Set, Key: b32, Value: b31}, operation.ErrValueSize},
		{"short metadata", "any/fixed", operation.Operation{Kind: operation.Commit, Value: b31}, operation.ErrValueSize},
		{"empty metadata", "any/fixed", operation.Operation{Kind: operation.Commit, Value: []byte{}}, operation.ErrValueSize},
		{"delete with a value", "any/variable", operation.Operation{Kind: operation.Delete, Value: b32}, operation.ErrKind},
		{"commit with a key", "any/variable", operation.Operation{Kind: operation.Commit, Key: b32}, operation.ErrKind},
		{"append with a key", "keyless/variable", operation.Operation{Kind: operation.Append, Key: b32}, operation.ErrKind},
		{"update with a floor", "any/variable", operation.Operation{Kind: operation.Update, Floor: 1}, operation.ErrKind},
		{"floor", "any/variable", operation.Operation{Kind: operation.Commit, Floor: mmr.MaxLeaves + 1}, operation.ErrFloor},
		{"long key", "any/variable", operation.Operation{Kind: operation.Delete, Key: make([]byte, operation.MaxKey+1)}, operation.ErrKeySize},
		{"long key", "any/variable", operation.Operation{Kind: operation.Delete, Key: make([]byte, operation.MaxKey+1)}, operation.ErrTooLarge},
		{"long operation", "any/variable", operation.Operation{Kind: operation.Update, Value: make([]byte, operation.MaxOperation-5)}, operation.ErrTooLarge},
		{"long metadata", "any/variable", operation.Operation{Kind: operation.Commit, Value: make([]byte, operation.MaxOperation+1)}, operation.ErrValueSize},
	} {
		codec := codecs[c.codec]
		if err := codec.Check(c.op); !errors.Is(err, c.want) {
			t.Errorf("%s: %s: %v, want %v", c.codec, c.why, err, c.want)
		}
		dst := []byte("kept")
		if out, err := codec.Append(dst, c.op); err == nil || string(out) != "kept" {
			t.Errorf("%s: %s: append gave %q, %v", c.codec, c.why, out, err)
		}
	}
}

// The largest operations that may be stored decode again; one byte more does
// neither.
func TestCapsAreTheSameForEncoderAndDecoder(t *testing.T) {
	c := codecs["any/variable"]
	fits := operation.Operation{Kind: operation.Update, Key: make([]byte, operation.MaxKey)}
	fits.Value = make([]byte, operation.MaxOperation-1-3-operation.MaxKey-4)
	b, err := c.Append(nil, fits)
	if err != nil || len(b) != operation.MaxOperation {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	if op, err := c.Decode(b); err != nil || !equal(op, fits) {
		t.Fatalf("%v", err)
	}
	fits.Value = append(fits.Value, 0)
	b, err = c.WithMaxBytes(operation.MaxOperation).Append(nil, fits)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Decode(b); !errors.Is(err, operation.ErrDecode) || !errors.Is(err, operation.ErrTooLarge) {
		t.Errorf("operation of %d bytes: %v", len(b), err)
	}
	b, err = c.WithMaxBytes(operation.MaxOperation).Append(nil, operation.Operation{Kind: operation.Delete, Key: make([]byte, operation.MaxKey+1)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Decode(b); !errors.Is(err, operation.ErrTooLarge) || !errors.Is(err, operation.ErrKeySize) {
		t.Errorf("long key: %v", err)
	}
}

func TestAbsentAndEmptyMetadataDiffer(t *testing.T) {
	c := codecs["any/variable"]
	for want, b := range map[bool][]byte{true: {0xD3, 0, 7}, false: {0xD3, 1, 0, 7}} {
		op, err := c.Decode(b)
		if err != nil || (op.Value == nil) != want || len(op.Value) != 0 || op.Floor != 7 {
			t.Errorf("%x: %+v, %v", b, op, err)
		}
	}
}

func TestDecodedSlicesCannotGrowIntoTheirNeighbours(t *testing.T) {
	c := codecs["any/variable"]
	b := []byte{0xD2, 1, 'k', 1, 'v', 0xD1, 1, 'x'}
	run, err := c.NewRun(b)
	if err != nil {
		t.Fatal(err)
	}
	op, err := c.Decode(run.At(0))
	if err != nil {
		t.Fatal(err)
	}
	_ = append(op.Key, 0)
	_ = append(op.Value, 0)
	_ = append(run.At(0), 0)
	_ = append(run.Slice(0, 1).Bytes(), 0)
	if want := []byte{0xD2, 1, 'k', 1, 'v', 0xD1, 1, 'x'}; !bytes.Equal(b, want) {
		t.Errorf("%x, want %x", b, want)
	}
}

func TestDecodeErrorsNameTheOffset(t *testing.T) {
	c := codecs["any/variable"]
	_, err := c.NewRun([]byte{0xD1, 1, 'k', 0xD3, 2, 0})
	var d *operation.DecodeError
	if !errors.As(err, &d) || d.Offset != 4 || !strings.Contains(err.Error(), "at 4: option byte") {
		t.Errorf("%v", err)
	}
}

func TestNamesParse(t *testing.T) {
	for _, f := range []operation.Family{operation.Any, operation.Immutable} {
		if got, err := operation.ParseFamily(f.String()); got != f || err != nil {
			t.Errorf("%s: %s, %v", f, got, err)
		}
	}
	for _, s := range []string{"", "Any", "keyless", "current"} {
		if _, err := operation.ParseFamily(s); err == nil || !strings.Contains(err.Error(), "any or immutable") {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, e := range []operation.Encoding{operation.Fixed, operation.Variable} {
		if got, err := operation.ParseEncoding(e.String()); got != e || err != nil {
			t.Errorf("%s: %s, %v", e, got, err)
		}
	}
	if _, err := operation.ParseEncoding("fixd"); err == nil || !strings.Contains(err.Error(), "fixed or variable") {
		t.Errorf("%v", err)
	}
	if c := (operation.Codec{}); c.String() != "any/fixed" || c.Size() != 65 || c != operation.NewCodec(operation.Any, operation.Fixed) {
		t.Errorf("the zero codec is %s with %d bytes", c, c.Size())
	}
	if c := codecs["keyless/fixed"]; c.Size() != 42 {
		t.Errorf("keyless operations have %d bytes", c.Size())
	}
}
