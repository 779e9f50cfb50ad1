package wire_test

import (
	"testing"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/wire"
)

func BenchmarkDecodeMessage(b *testing.B) {
	const n = 10_000
	for _, name := range []string{"any/fixed", "any/variable"} {
		c := codecs[name]
		m := wire.Operations{Proof: mmr.Proof{Leaves: 1 << 20, Digests: someDigests(20)}, Run: someRun(b, c, n)}
		payload := m.AppendTo(nil)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := wire.Decode(payload, c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendFrame(b *testing.B) {
	m := wire.Operations{Proof: mmr.Proof{Leaves: 1 << 20, Digests: someDigests(20)}, Run: someRun(b, codecs["any/fixed"], 10_000)}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = wire.AppendFrame(dst[:0], &m); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(dst)))
}
