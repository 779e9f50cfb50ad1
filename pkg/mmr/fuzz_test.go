package mmr

import (
	"bytes"
	"slices"
	"testing"
)

// script is a sequence of changes, made of the bytes of a fuzzer: what is
// missing is 0.
type script []byte

func (s *script) next() int {
	if len(*s) == 0 {
		return 0
	}
	b := (*s)[0]
	*s = (*s)[1:]
	return int(b)
}

// elements are operations of any content.
type elements [][]byte

func (e elements) Len() int        { return len(e) }
func (e elements) At(i int) []byte { return e[i] }

// change inserts, deletes, replaces or swaps in a list. Digests that are new come
// from those that there are, so that some of them fit.
func change(s *script, list, known []Digest) []Digest {
	how, at, other := s.next(), s.next(), s.next()
	d := Digest{byte(other)}
	if len(known) > 0 && how < 128 {
		d = known[other%len(known)]
	}
	if how%4 == 0 {
		return slices.Insert(slices.Clone(list), at%(len(list)+1), d)
	}
	if len(list) == 0 {
		return list
	}
	at, other = at%len(list), other%len(list)
	list = slices.Clone(list)
	switch how % 4 {
	case 1:
		return slices.Delete(list, at, at+1)
	case 2:
		list[at] = d
	default:
		list[at], list[other] = list[other], list[at]
	}
	return list
}

// FuzzProofMalleable: whatever is done to a proof, to the operations it comes
// with and to their pinned nodes, what verifies against the root is true, and is
// written in one way only.
func FuzzProofMalleable(f *testing.F) {
	f.Add(byte(20), byte(1), byte(3), byte(5), []byte{})
	f.Add(byte(100), byte(2), byte(64), byte(1), []byte{0, 0, 1, 2})             // insert a digest
	f.Add(byte(77), byte(0), byte(10), byte(40), []byte{0, 1, 0, 0, 0, 3, 0, 1}) // delete, and swap two
	f.Add(byte(15), byte(3), byte(8), byte(2), []byte{2, 14})                    // another size
	f.Add(byte(15), byte(1), byte(9), byte(1), []byte{3, 2})                     // other inactive peaks
	f.Add(byte(31), byte(1), byte(4), byte(4), []byte{4, 5})                     // another start
	f.Add(byte(31), byte(1), byte(4), byte(4), []byte{5, 1, 5, 2, 6, 0, 9, 7, 1, 2})
	f.Add(byte(200), byte(2), byte(130), byte(7), []byte{1, 2, 0, 5, 1, 3, 1, 0})
	tree := newNaive(256)
	f.Fuzz(func(t *testing.T, size, inactive, first, count byte, changes []byte) {
		s := script(changes)
		leaves := uint64(size) + 1
		k := uint64(inactive) % uint64(len(Peaks(leaves))+1)
		start := uint64(first) % leaves
		end := start + 1 + uint64(count)%(leaves-start)
		prove := func(start, end uint64) Proof {
			p, err := Prove(leaves, k, start, end, func(n Node) (Digest, error) { return tree.node(n), nil })
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		root := tree.root(leaves, k)
		proof, pins := prove(start, end), tree.peaks(start)
		var e elements
		for i := start; i < end; i++ {
			e = append(e, ops{i, end}.At(0))
		}
		if err := proof.VerifyPins(HashSpan(start, e), pins, root); err != nil {
			t.Fatalf("nothing was changed: %v", err)
		}
		from := start
		for n := 0; len(s) > 0 && n < 8; n++ {
			switch op := s.next() % 8; {
			case op == 0:
				proof.Digests = change(&s, proof.Digests, append(slices.Clone(pins), proof.Digests...))
			case op == 1:
				pins = change(&s, pins, append(slices.Clone(proof.Digests), pins...))
			case op == 2:
				proof.Leaves = uint64(s.next())
			case op == 3:
				proof.InactivePeaks = uint64(s.next() % 9)
			case op == 4:
				from = uint64(s.next())
			case op == 5:
				l := uint64(s.next())
				e = slices.Insert(slices.Clone(e), int(l)%(len(e)+1), ops{l, l + 1}.At(0))
			case len(e) == 0:
			case op == 6:
				i := s.next() % len(e)
				e = slices.Delete(slices.Clone(e), i, i+1)
			default:
				i, j := s.next()%len(e), s.next()%len(e)
				e = slices.Clone(e)
				e[i], e[j] = e[j], e[i]
			}
		}
		span := HashSpan(from, e)
		if proof.Verify(span, root) != nil {
			if proof.VerifyPins(span, pins, root) == nil {
				t.Fatal("verifies with pins, and does not without")
			}
			return
		}
		if len(e) == 0 || proof.Leaves != leaves || proof.InactivePeaks != k {
			t.Fatalf("%d operations proven for size %d with %d inactive peaks, it is %d with %d", len(e), proof.Leaves, proof.InactivePeaks, leaves, k)
		}
		for i, op := range e {
			if want := (ops{from + uint64(i), leaves}).At(0); !bytes.Equal(op, want) {
				t.Fatalf("location %d is proven to hold %x, it holds %x", from+uint64(i), op, want)
			}
		}
		if want := prove(from, from+uint64(len(e))); !slices.Equal(proof.Digests, want.Digests) {
			t.Fatalf("two proofs of one range verify:\n%x\n%x", proof.Digests, want.Digests)
		}
		if proof.VerifyPins(span, pins, root) == nil && !slices.Equal(pins, tree.peaks(from)) {
			t.Fatalf("pins of %d verify that are others: %x", from, pins)
		}
	})
}
