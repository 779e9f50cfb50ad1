package database

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
)

func benchKey(n uint64) []byte {
	k := make([]byte, 32)
	r := rand.New(rand.NewPCG(n, 1))
	for i := 0; i < 32; i += 8 {
		binary.BigEndian.PutUint64(k[i:], r.Uint64())
	}
	return k
}

// benchDB is a database of n random keys on the real file system.
func benchDB(b *testing.B, n int) *DB {
	b.Helper()
	db, err := Open(b.TempDir(), Options{Codec: codecs[0], CreateIfMissing: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	const batch = 100_000
	for i := 0; i < n; i += batch {
		var ws []Write
		for j := i; j < min(i+batch, n); j++ {
			ws = append(ws, Write{Key: benchKey(uint64(j)), Value: benchKey(uint64(j))})
		}
		if _, err := db.Apply(context.Background(), Batch{Writes: ws}); err != nil {
			b.Fatal(err)
		}
	}
	return db
}

// BenchmarkLoad stores verified operations, hashing included, durably.
func BenchmarkLoad(b *testing.B) {
	const n = 300_000
	src := benchDB(b, n)
	v, err := src.View()
	if err != nil {
		b.Fatal(err)
	}
	defer v.Close()
	data, count, err := v.AppendOperations(nil, 0, v.Size(), 1<<30)
	if err != nil {
		b.Fatal(err)
	}
	all, err := v.Codec().NewRun(data)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		b.StopTimer()
		db, err := Open(b.TempDir(), Options{Codec: codecs[0]})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		l, err := db.Stage(0, nil)
		if err != nil {
			b.Fatal(err)
		}
		const chunk = 1 << 13
		for at := 0; at < count; at += chunk {
			run := all.Slice(at, min(at+chunk, count))
			if err := l.Append(mmr.HashSpan(uint64(at), run), run); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := l.Publish(v.Root(), v.Size()); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		l.Close()
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(count)*float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

// BenchmarkApply updates random keys, one durable commit each time.
func BenchmarkApply(b *testing.B) {
	const n = 300_000
	db := benchDB(b, n)
	for _, size := range []int{5, 10_000} {
		b.Run(map[int]string{5: "5", 10_000: "10000"}[size], func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 2))
			for b.Loop() {
				ws := make([]Write, size)
				for i := range ws {
					ws[i] = Write{Key: benchKey(r.Uint64N(n)), Value: benchKey(r.Uint64())}
				}
				if _, err := db.Apply(context.Background(), Batch{Writes: ws}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}

func BenchmarkGet(b *testing.B) {
	const n = 300_000
	db := benchDB(b, n)
	v, err := db.View()
	if err != nil {
		b.Fatal(err)
	}
	defer v.Close()
	r := rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		if _, err := v.Get(benchKey(r.Uint64N(n))); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkProve50(b *testing.B) {
	const n = 300_000
	db := benchDB(b, n)
	v, err := db.View()
	if err != nil {
		b.Fatal(err)
	}
	defer v.Close()
	r := rand.New(rand.NewPCG(1, 2))
	var buf []byte
	for b.Loop() {
		at := r.Uint64N(n - 50)
		if _, err := v.Prove(v.Size(), at, at+50); err != nil {
			b.Fatal(err)
		}
		if buf, _, err = v.AppendOperations(buf[:0], at, at+50, 50*operation.NewCodec(operation.Any, operation.Fixed).Size()); err != nil {
			b.Fatal(err)
		}
	}
}
