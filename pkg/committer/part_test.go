package committer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/store"
)

// sequence hands in a sequence of puts under one key, as a stream does.
type sequence struct {
	c       *Committer
	key     string
	print   [32]byte
	prior   [32]byte
	earlier uint64
	index   uint32
	skipped int
	fresh   int
}

func (s *sequence) part(value byte, more bool) (Result, error) {
	s.print[s.index%32] += value + 1
	res, err := s.c.Commit(context.Background(), Batch{
		Writes:         []Write{put("k", fmt.Sprint(value)), put(fmt.Sprintf("part %d", s.index), fmt.Sprint(value))},
		IdempotencyKey: s.key, Fingerprint: s.print,
		Part: Part{Index: s.index, More: more, Prior: s.prior, Earlier: s.earlier},
	})
	if err != nil {
		return res, err
	}
	s.index++
	if s.prior = s.print; res.Skipped {
		s.prior = [32]byte{}
		s.skipped++
	}
	if !res.Replayed {
		s.fresh++
	}
	s.earlier = res.Earlier + uint64(res.Operations)
	return res, nil
}

func (s *sequence) all(values []byte, complete bool) error {
	for i, v := range values {
		if _, err := s.part(v, !complete || i < len(values)-1); err != nil {
			return err
		}
	}
	return nil
}

func TestASequenceIsRememberedFromItsLastPartOn(t *testing.T) {
	fs := store.MemFS()
	db := open(t, fs, anyVariable)
	o := Options{Remember: 300 * time.Millisecond}
	c := newCommitter(t, db, o)
	stop := run(t, c)
	first := &sequence{c: c, key: "one"}
	for v := range byte(5) {
		if v > 0 {
			time.Sleep(100 * time.Millisecond)
		}
		if _, err := first.part(v, true); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(c.mem.known); n != 1 {
		t.Errorf("%d records", n)
	}
	// It broke, and is sent again as a whole: to this process, and to the next.
	for range 2 {
		size := head(t, db)
		again := &sequence{c: c, key: "one"}
		if err := again.all([]byte{0, 1, 2, 3, 4}, false); err != nil || again.skipped != 4 || again.fresh != 0 {
			t.Fatalf("%+v, %v", again, err)
		}
		if again.earlier != first.earlier || head(t, db) != size || value(t, db, "k") != "4" {
			t.Errorf("again %+v, first %+v, k is %s", again, first, value(t, db, "k"))
		}
		if err := errors.Join(stop(), db.Close()); err != nil {
			t.Fatal(err)
		}
		db = open(t, fs, anyVariable)
		c = newCommitter(t, db, o)
		stop = run(t, c)
	}
	last := &sequence{c: c, key: "one"}
	if err := last.all([]byte{0, 1, 2, 3, 4, 5}, true); err != nil || last.fresh != 1 {
		t.Fatalf("%+v, %v", last, err)
	}
}

func TestWhatIsForgottenWhileItIsSentAgainIsNotWrittenAnew(t *testing.T) {
	db := open(t, store.MemFS(), anyVariable)
	c := newCommitter(t, db, Options{Remember: 50 * time.Millisecond})
	run(t, c)
	first := &sequence{c: c, key: "one"}
	if err := first.all([]byte{0, 1, 2}, false); err != nil {
		t.Fatal(err)
	}
	again := &sequence{c: c, key: "one"}
	if err := again.all([]byte{0, 1}, false); err != nil || again.skipped != 2 {
		t.Fatalf("%+v, %v", again, err)
	}
	time.Sleep(60 * time.Millisecond)
	if _, err := again.part(2, true); !errors.Is(err, ErrReused) || value(t, db, "k") != "2" {
		t.Errorf("%v", err)
	}
	// The first one knows where it stands: it goes on.
	if res, err := first.part(3, true); err != nil || res.Replayed || res.Earlier == 0 {
		t.Errorf("%+v, %v", res, err)
	}
	// After another one took the key, it does not.
	time.Sleep(60 * time.Millisecond)
	if err := (&sequence{c: c, key: "one"}).all([]byte{9}, false); err != nil {
		t.Fatal(err)
	}
	if _, err := first.part(4, true); !errors.Is(err, ErrReused) || value(t, db, "k") != "9" {
		t.Errorf("%v", err)
	}
}

// Whatever is sent again, in whatever state the process is, a sequence writes
// each of its parts once and in order, and another one nothing.
func TestSequencesWriteOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		fs := store.MemFS()
		start := func() (*database.DB, *Committer, func() error) {
			db, err := database.Open("db", database.Options{Codec: anyVariable, FS: fs, CreateIfMissing: true})
			if err != nil {
				rt.Fatal(err)
			}
			c := newCommitter(t, db, Options{})
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- c.Run(ctx) }()
			return db, c, func() error { cancel(); return errors.Join(<-done, db.Close()) }
		}
		db, c, stop := start()
		defer func() { _ = stop() }()
		var known []byte // values of the parts that are committed
		complete := false
		for range rapid.IntRange(1, 8).Draw(rt, "attempts") {
			if rapid.IntRange(0, 4).Draw(rt, "restart") == 0 {
				if err := stop(); err != nil {
					rt.Fatal(err)
				}
				db, c, stop = start()
			}
			sent := append([]byte(nil), known...)
			if len(sent) > 0 && rapid.IntRange(0, 3).Draw(rt, "other") == 0 {
				sent[rapid.IntRange(0, len(sent)-1).Draw(rt, "where")] ^= 0x40
			}
			sent = sent[:rapid.IntRange(0, len(sent)).Draw(rt, "cut")]
			sent = append(sent, rapid.SliceOfN(rapid.ByteMax(3), 0, 3).Draw(rt, "new")...)
			if len(sent) == 0 {
				continue
			}
			ends := rapid.Bool().Draw(rt, "ends")

			size := head(t, db)
			s := &sequence{c: c, key: "one"}
			err := s.all(sent, ends)
			n := len(known)
			want := true // it is answered without an error
			switch {
			case len(sent) < n:
				want = !ends // it broke while parts were skipped
			case n > 0 && string(sent[:n]) != string(known):
				want = false
			case len(sent) == n && n > 0:
				want = ends == complete
			case n > 0 && complete:
				want = false
			}
			if want != (err == nil) || err != nil && !errors.Is(err, ErrReused) {
				rt.Fatalf("%v (complete %v), then %v (ends %v): %v", known, complete, sent, ends, err)
			}
			if wrote := head(t, db) != size; wrote != (want && len(sent) > n) || s.fresh > 0 && s.fresh != len(sent)-n {
				rt.Fatalf("%v, then %v: %d parts are written", known, sent, s.fresh)
			}
			if want && len(sent) > n {
				known, complete = sent, ends
			}
			if n := len(known); n > 0 && value(t, db, "k") != fmt.Sprint(known[n-1]) {
				rt.Fatalf("k is %s after %v", value(t, db, "k"), known)
			}
		}
	})
}

func TestASequenceThatIsSentTwiceAtOnceIsWrittenOnce(t *testing.T) {
	db := open(t, store.MemFS(), anyVariable)
	c := newCommitter(t, db, Options{})
	run(t, c)
	values := make([]byte, 30)
	for i := range values {
		values[i] = byte(i)
	}
	var wg sync.WaitGroup
	all := make([]*sequence, 4)
	for i := range all {
		all[i] = &sequence{c: c, key: "one"}
		wg.Go(func() {
			if err := all[i].all(values, true); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	fresh := 0
	for _, s := range all {
		fresh += s.fresh
	}
	if fresh != len(values) || value(t, db, "k") != "29" {
		t.Errorf("%d of %d parts were written, k is %s", fresh, len(values), value(t, db, "k"))
	}
}
