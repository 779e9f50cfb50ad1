package fsck_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"go.uber.org/goleak"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/fsck"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var codecs = []operation.Codec{
	operation.NewCodec(operation.Any, operation.Fixed),
	operation.NewCodec(operation.Any, operation.Variable),
	operation.NewCodec(operation.Immutable, operation.Fixed),
	operation.NewCodec(operation.Immutable, operation.Variable),
}

func key(c operation.Codec, n uint64) []byte {
	k := binary.BigEndian.AppendUint64(nil, n*0x9e3779b97f4a7c15)
	if c.Encoding() == operation.Fixed {
		return append(k, make([]byte, 24)...)
	}
	return append(bytes.Repeat([]byte{0, byte(n % 3)}, int(n%4)), k[:2+n%7]...)
}

func value(c operation.Codec, n uint64) []byte {
	if c.Encoding() == operation.Fixed {
		return binary.BigEndian.AppendUint64(make([]byte, 24), n)
	}
	return bytes.Repeat([]byte{byte(n)}, int(n%300))
}

// write makes a database of the given commits, each of so many writes, and
// returns the live keys it has.
func write(tb testing.TB, fs store.FS, dir string, c operation.Codec, commits ...int) (live int) {
	tb.Helper()
	db, err := database.Open(dir, database.Options{Codec: c, FS: fs, CreateIfMissing: true})
	if err != nil {
		tb.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	keys := map[string]bool{}
	next := uint64(0)
	for i, n := range commits {
		b := database.Batch{Notes: []database.Note{{Key: []byte(fmt.Sprintf("note %d", i)), Value: []byte("kept")}}}
		for range n {
			k := next
			if c.Family() == operation.Any && next > 10 && rng.IntN(3) == 0 {
				k = rng.Uint64N(next)
			} else {
				next++
			}
			w := database.Write{Key: key(c, k), Value: value(c, rng.Uint64N(1000))}
			if c.Family() == operation.Any && rng.IntN(8) == 0 {
				w = database.Write{Key: w.Key, Delete: true}
			}
			keys[string(w.Key)] = !w.Delete
			b.Writes = append(b.Writes, w)
		}
		if _, err := db.Apply(context.Background(), b); err != nil {
			tb.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		tb.Fatal(err)
	}
	for _, lives := range keys {
		if lives {
			live++
		}
	}
	return live
}

// replicate makes a replica of the log from start on (nil: the floor).
func replicate(tb testing.TB, fs store.FS, from, to string, c operation.Codec, start func(v *database.View) uint64) {
	tb.Helper()
	src, err := database.Open(from, database.Options{Codec: c, FS: fs, ReadOnly: true})
	if err != nil {
		tb.Fatal(err)
	}
	defer src.Close()
	v, err := src.View()
	if err != nil {
		tb.Fatal(err)
	}
	defer v.Close()
	at := start(v)
	pins, err := v.Pins(at)
	if err != nil {
		tb.Fatal(err)
	}
	dst, err := database.Open(to, database.Options{Codec: c, FS: fs})
	if err != nil {
		tb.Fatal(err)
	}
	l, err := dst.Stage(at, pins)
	if err != nil {
		tb.Fatal(err)
	}
	for at < v.Size() {
		end := min(v.Size(), at+20_000)
		var ops []byte
		if err := v.Operations(at, end, func(_ uint64, op []byte) bool { ops = append(ops, op...); return true }); err != nil {
			tb.Fatal(err)
		}
		run, err := c.NewRun(ops)
		if err != nil {
			tb.Fatal(err)
		}
		if err := l.Append(mmr.HashSpan(at, run), run); err != nil {
			tb.Fatal(err)
		}
		at = end
	}
	if _, err := l.Publish(v.Root(), v.Size()); err != nil {
		tb.Fatal(err)
	}
	if err := l.Close(); err != nil {
		tb.Fatal(err)
	}
	if err := dst.Close(); err != nil {
		tb.Fatal(err)
	}
}

func check(tb testing.TB, fs store.FS, dir string) *fsck.Report {
	tb.Helper()
	r, err := fsck.Check(tb.Context(), dir, fsck.Options{FS: fs})
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func wantClean(tb testing.TB, r *fsck.Report) {
	tb.Helper()
	if !r.Clean() || len(r.Findings) > 0 || len(r.Generations) != 1 {
		tb.Fatalf("%d damages, %d generations:\n%s", r.Damages, len(r.Generations), lines(r))
	}
}

func lines(r *fsck.Report) string {
	var b bytes.Buffer
	for _, f := range r.Findings {
		fmt.Fprintln(&b, f)
	}
	return b.String()
}
