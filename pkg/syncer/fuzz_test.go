package syncer

import (
	"bytes"
	"slices"
	"testing"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
	"github.com/proofsync/proofsync/pkg/wire"
)

// tampered is what is left of an answer after bytes of it were flipped,
// inserted, deleted, replaced and swapped, as changes say: each is made of four
// bytes, what, two for where, and with what. The list of digests begins at the
// byte list, with its length: one more or less is a change that still decodes.
func tampered(payload []byte, list int, changes []byte) []byte {
	b := slices.Clone(payload)
	for n := 0; len(changes) >= 4 && len(b) > list && n < 16; n++ {
		at := (int(changes[1])<<8 | int(changes[2])) % len(b)
		with := changes[3]
		switch changes[0] % 8 {
		case 0:
			b[at] ^= 1 << (with % 8)
		case 1:
			b = slices.Insert(b, at, with)
		case 2:
			b = slices.Delete(b, at, at+1)
		case 3:
			b[at] = with
		case 4:
			other := int(with) * len(b) / 256
			b[at], b[other] = b[other], b[at]
		case 5:
			if d := list + 1 + at%(int(b[list])+1)*mmr.DigestSize; d+mmr.DigestSize <= len(b) {
				b[list]++
				b = slices.Insert(b, d, slices.Clone(b[d:d+mmr.DigestSize])...)
			}
		case 6:
			if d := list + 1 + at%(int(b[list])+1)*mmr.DigestSize; d+mmr.DigestSize <= len(b) {
				b[list]--
				b = slices.Delete(b, d, d+mmr.DigestSize)
			}
		default:
			if other := at + mmr.DigestSize*(1+int(with%8)); other+mmr.DigestSize <= len(b) {
				first := slices.Clone(b[at : at+mmr.DigestSize])
				copy(b[at:], b[other:other+mmr.DigestSize])
				copy(b[other:], first)
			}
		}
		changes = changes[4:]
	}
	return b
}

// FuzzTamperedAnswer: whatever is done to the bytes of an answer, what a client
// accepts of it is the honest log.
func FuzzTamperedAnswer(f *testing.F) {
	c := sourcetest.Codecs[0]
	db := sourcetest.Writer(f, c)
	for range 4 {
		sourcetest.Commit(f, db, 1, 3, 25)
	}
	v, err := db.View()
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(v.Close)
	f.Add(uint16(0), byte(1), true, []byte{})
	for what := range byte(8) {
		f.Add(uint16(77), byte(20), what%2 == 0, []byte{what, 0, 40, 3, what, 0, 90, 200})
	}
	f.Add(uint16(v.Size()-1), byte(1), false, []byte{3, 0, 9, 0})
	f.Fuzz(func(t *testing.T, first uint16, most byte, pins bool, changes []byte) {
		asked := wire.GetOperations{ID: 7, Size: v.Size(), Start: v.Start() + uint64(first)%(v.Size()-v.Start()), Max: 1 + uint64(most), Pins: pins}
		honest, ok := sourcetest.Answer(db, &asked).(*wire.Operations)
		if !ok {
			t.Fatalf("no answer to %+v", asked)
		}
		list := 9 + len(wire.AppendProof(nil, mmr.Proof{Leaves: honest.Proof.Leaves, InactivePeaks: honest.Proof.InactivePeaks})) - 1
		m, err := wire.Decode(tampered(honest.AppendTo(nil), list, changes), c)
		if err != nil {
			return
		}
		got, ok := m.(*wire.Operations)
		if !ok || got.Answers(asked) != nil {
			return
		}
		a := &source.Answer{Proof: got.Proof, Run: got.Run, Pins: got.Pins}
		r := source.Request{Size: asked.Size, Start: asked.Start, Max: asked.Max, Pins: asked.Pins}
		if err := verify(new(mmr.Span), a, r, v.Root()); err != nil {
			if len(changes) < 4 {
				t.Fatalf("nothing was changed: %v", err)
			}
			return
		}
		if !bytes.HasPrefix(honest.Run.Bytes(), got.Run.Bytes()) || got.Run.Len() == honest.Run.Len() && !slices.Equal(got.Proof.Digests, honest.Proof.Digests) {
			t.Fatalf("accepted as the answer to %+v:\n%x\nhonest is\n%x", asked, got.Run.Bytes(), honest.Run.Bytes())
		}
		if pins && !slices.Equal(got.Pins, honest.Pins) {
			t.Fatalf("accepted as the pins of %d: %x, honest are %x", asked.Start, got.Pins, honest.Pins)
		}
	})
}
