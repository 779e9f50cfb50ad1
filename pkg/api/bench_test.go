package api

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
)

// discard is a connection that costs nothing.
type discard struct {
	header http.Header
	n      int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { d.n += len(b); return len(b), nil }
func (d *discard) WriteHeader(int)             {}

func benchmark(b *testing.B, target func(i int) string) {
	f := newFixture(b, anyFixed, func(o *Options) { o.Logger = nil })
	var batch database.Batch
	const keys = 20_000
	for i := range keys {
		batch.Writes = append(batch.Writes, database.Write{Key: []byte(key32(i)), Value: []byte(key32(i))})
	}
	if _, err := f.db.Apply(context.Background(), batch); err != nil {
		b.Fatal(err)
	}
	requests := make([]*http.Request, keys)
	for i := range requests {
		requests[i] = httptest.NewRequest(http.MethodGet, target(i), nil)
	}
	sent := 0
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		w := &discard{header: make(http.Header)}
		f.h.ServeHTTP(w, requests[i*7919%keys])
		sent += w.n
	}
	b.ReportMetric(float64(sent)/float64(b.N), "bytes/op")
}

func BenchmarkKey(b *testing.B) {
	benchmark(b, func(i int) string { return "/v1/keys/" + b64(key32(i)) })
}

func BenchmarkKeyWithProof(b *testing.B) {
	benchmark(b, func(i int) string { return "/v1/keys/" + b64(key32(i)) + "?proof=true" })
}

func BenchmarkListing(b *testing.B) {
	for _, values := range []bool{false, true} {
		b.Run(fmt.Sprintf("values=%v", values), func(b *testing.B) {
			benchmark(b, func(int) string { return fmt.Sprintf("/v1/keys?limit=10000&values=%v", values) })
		})
	}
}
