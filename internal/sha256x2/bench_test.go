package sha256x2

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"testing"
)

// BenchmarkSum: the digests of messages that begin with a number, in pairs and
// one by one. 72 bytes are a node of a tree; "mixed" are messages of 500 and 1024
// bytes that take turns.
func BenchmarkSum(b *testing.B) {
	const count = 512
	data, dst := make([]byte, count*1024), make([][Size]byte, count)
	for _, c := range []struct {
		name  string
		sizes [2]int
	}{{"72", [2]int{72, 72}}, {"1024", [2]int{1024, 1024}}, {"mixed", [2]int{500, 1024}}} {
		body := func(i int) []byte { return data[i*1024+numberSize : i*1024+c.sizes[i%2]] }
		run := func(how string, f func()) {
			b.Run(fmt.Sprintf("%s/%s", c.name, how), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					f()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/count, "ns/message")
			})
		}
		run("single", func() {
			for i := range dst {
				m := data[i*1024 : i*1024+c.sizes[i%2]]
				binary.BigEndian.PutUint64(m, uint64(i))
				dst[i] = sha256.Sum256(m)
			}
		})
		if enabled {
			run("pairs", func() {
				Pairs(dst, func(i int) (uint64, []byte, []byte) { return uint64(i), nil, body(i) })
			})
		}
	}
}
