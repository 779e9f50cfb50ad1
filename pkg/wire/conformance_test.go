package wire_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/proofsync/proofsync/internal/vectors"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/wire"
)

func TestEncodingsMatchPublishedHashes(t *testing.T) {
	for _, c := range []struct {
		name   string
		encode func(dst []byte, u *vectors.Arbitrary) []byte
		again  func(b []byte) (again, rest []byte, err error)
	}{
		{
			name: "merkle::mmr::proof::tests::conformance::CodecConformance<Proof<Family,Sha256Digest>>",
			encode: func(dst []byte, u *vectors.Arbitrary) []byte {
				p := mmr.Proof{Leaves: u.Between(0, mmr.MaxLeaves), InactivePeaks: u.Uint64()}
				for u.Bool() {
					p.Digests = append(p.Digests, mmr.Digest(u.Digest()))
				}
				return wire.AppendProof(dst, p)
			},
			again: func(b []byte) ([]byte, []byte, error) {
				p, rest, err := wire.DecodeProof(b)
				return wire.AppendProof(nil, p), rest, err
			},
		},
		{
			name: "sync::target::tests::conformance::CodecConformance<Target<MmrFamily,sha256::Digest>>",
			encode: func(dst []byte, u *vectors.Arbitrary) []byte {
				target := wire.Target{Root: mmr.Digest(u.Digest())}
				target.Start = u.Between(0, mmr.MaxLeaves-1)
				target.End = u.Between(target.Start+1, mmr.MaxLeaves)
				return target.AppendTo(dst)
			},
			again: func(b []byte) ([]byte, []byte, error) {
				target, rest, err := wire.DecodeTarget(b)
				return target.AppendTo(nil), rest, err
			},
		},
		{
			name: "sync::compact::conformance::CodecConformance<Target<mmr::Family,Sha256Digest>>",
			encode: func(dst []byte, u *vectors.Arbitrary) []byte {
				return wire.CompactTarget{Root: mmr.Digest(u.Digest()), Leaves: u.Between(1, mmr.MaxLeaves)}.AppendTo(dst)
			},
			again: func(b []byte) ([]byte, []byte, error) {
				target, rest, err := wire.DecodeCompactTarget(b)
				return target.AppendTo(nil), rest, err
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			vectors.Published(t, c.name).Check(t, func(dst []byte, seed uint64) []byte {
				start := len(dst)
				dst = c.encode(dst, vectors.NewArbitrary(seed))
				again, rest, err := c.again(dst[start:])
				if err != nil || len(rest) > 0 || !bytes.Equal(again, dst[start:]) {
					t.Errorf("seed %d: %x decodes and encodes to %x, rest %x, %v", seed, dst[start:], again, rest, err)
				}
				return dst
			})
		})
	}
}

type elements [][]byte

func (e elements) Len() int        { return len(e) }
func (e elements) At(i int) []byte { return e[i] }

// The published roots of bare trees fold their peaks the other way round than
// logs of operations do, but have the same leaves and nodes.
func TestNodesMatchPublishedRoots(t *testing.T) {
	var e elements
	for i := range uint64(200) {
		d := sha256.Sum256(binary.BigEndian.AppendUint64(nil, i))
		e = append(e, d[:])
	}
	vectors.Published(t, "merkle::conformance::tests::MmrRootStability").Check(t, func(dst []byte, seed uint64) []byte {
		span := mmr.HashSpan(0, e[:seed])
		hashed := binary.BigEndian.AppendUint64(nil, seed)
		for i, n := range mmr.Peaks(seed) {
			d, ok := span.Digest(n)
			if !ok {
				t.Errorf("%d leaves: no digest of %+v", seed, n)
			}
			if i > 0 {
				d = sha256.Sum256(append(hashed[8:], d[:]...))
			}
			hashed = append(hashed[:8], d[:]...)
		}
		root := sha256.Sum256(hashed)
		return append(dst, root[:]...)
	})
}
