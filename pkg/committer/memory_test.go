package committer

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/store"
	"github.com/proofsync/proofsync/pkg/store/storetest"
)

func named(name string, mark byte, ws ...Write) Batch {
	return Batch{Writes: ws, IdempotencyKey: name, Fingerprint: [32]byte{mark}}
}

func notes(t testing.TB, db *database.DB) (n int) {
	t.Helper()
	if err := db.Notes(func(_, _ []byte) bool { n++; return true }); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestABatchThatIsHandedInAgainGetsItsFirstAnswer(t *testing.T) {
	fs := store.MemFS()
	db := open(t, fs, anyVariable)
	c := newCommitter(t, db, Options{})
	stop := run(t, c)
	ctx := t.Context()
	first, err := c.Commit(ctx, named("one", 1, put("a", "1")))
	if err != nil || first.Replayed {
		t.Fatal(first, err)
	}
	if _, err := c.Commit(ctx, batch(put("a", "2"), put("b", "2"))); err != nil {
		t.Fatal(err)
	}
	check := func(c *Committer, db *database.DB) {
		t.Helper()
		again, err := c.Commit(ctx, named("one", 1, put("a", "1")))
		if err != nil || !again.Replayed {
			t.Fatal(again, err)
		}
		again.Replayed = false
		if again != first {
			t.Errorf("first %+v, again %+v", first, again)
		}
		var reused *ReusedError
		if _, err := c.Commit(ctx, named("one", 2, put("a", "3"))); !errors.As(err, &reused) || reused.Key != "one" {
			t.Errorf("another batch of that name: %v", err)
		}
		if a := value(t, db, "a"); a != "2" {
			t.Errorf("a is %s", a)
		}
	}
	check(c, db)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, fs, anyVariable)
	c = newCommitter(t, db, Options{})
	run(t, c)
	check(c, db)
}

func TestABatchThatFailedIsNotRemembered(t *testing.T) {
	db := open(t, store.MemFS(), anyVariable)
	c := newCommitter(t, db, Options{})
	run(t, c)
	b := named("one", 1, Write{Key: []byte("a"), Value: []byte("2"), IfValue: []byte("1")})
	if _, err := c.Commit(t.Context(), b); !errors.Is(err, ErrPrecondition) {
		t.Fatal(err)
	}
	if _, err := c.Commit(t.Context(), batch(put("a", "1"))); err != nil {
		t.Fatal(err)
	}
	if res, err := c.Commit(t.Context(), b); err != nil || res.Replayed {
		t.Fatal(res, err)
	}
}

func TestTheSameBatchInWorkIsWaitedFor(t *testing.T) {
	db := open(t, store.MemFS(), anyVariable)
	c := newCommitter(t, db, Options{})
	out := together(t, c, named("one", 1, put("a", "1")), named("one", 1, put("a", "1")), named("one", 2))
	if out[0].err != nil || out[1].err != nil || out[0].res.Commit != out[1].res.Commit || out[0].res.Replayed == out[1].res.Replayed {
		t.Errorf("%+v", out)
	}
	if !errors.Is(out[2].err, ErrReused) {
		t.Errorf("another batch of that name: %v", out[2].err)
	}
}

func TestKeysAreForgottenWhenTheirTimeIsOver(t *testing.T) {
	db := open(t, store.MemFS(), anyVariable)
	c := newCommitter(t, db, Options{Remember: 20 * time.Millisecond})
	run(t, c)
	for i := range 300 {
		if _, err := c.Commit(t.Context(), named(fmt.Sprint(i), 1, put("a", "1"))); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(25 * time.Millisecond)
	if res, err := c.Commit(t.Context(), named("299", 2, put("a", "2"))); err != nil || res.Replayed {
		t.Fatal(res, err) // another batch may have the name now
	}
	for range 300/dropAtOnce + 1 {
		if _, err := c.Commit(t.Context(), batch(put("b", "1"))); err != nil {
			t.Fatal(err)
		}
	}
	if n := notes(t, db); n > 1 {
		t.Errorf("%d notes are left", n)
	}
	if n := len(c.mem.known); n > 1 {
		t.Errorf("%d keys are known", n)
	}
}

func TestTheNumberOfKeysIsBounded(t *testing.T) {
	fs := store.MemFS()
	db := open(t, fs, anyVariable)
	c := newCommitter(t, db, Options{MaxRemembered: 10})
	stop := run(t, c)
	for i := range 50 {
		if _, err := c.Commit(t.Context(), named(fmt.Sprint(i), 1, put("a", "1"))); err != nil {
			t.Fatal(err)
		}
	}
	if n := notes(t, db); n != 10 {
		t.Errorf("%d notes", n)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	c = newCommitter(t, db, Options{MaxRemembered: 10})
	run(t, c)
	if res, err := c.Commit(t.Context(), named("49", 1, put("a", "1"))); err != nil || !res.Replayed {
		t.Errorf("the newest: %+v, %v", res, err)
	}
	if res, err := c.Commit(t.Context(), named("39", 1, put("a", "1"))); err != nil || res.Replayed {
		t.Errorf("one too old: %+v, %v", res, err)
	}
}

func TestAKeyIsRememberedIfAndOnlyIfItsCommitSurvivesACrash(t *testing.T) {
	const n = 4
	clones := storetest.Crashes(t, func(fs store.FS) {
		db := open(t, fs, anyVariable)
		c := newCommitter(t, db, Options{})
		stop := run(t, c)
		for i := range n {
			name := fmt.Sprint(i)
			if _, err := c.Commit(t.Context(), named(name, 1, put(name, name))); err != nil {
				t.Fatal(err)
			}
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
	replayed := 0
	for i, fs := range clones {
		db := open(t, fs, anyVariable)
		c := newCommitter(t, db, Options{})
		stop := run(t, c)
		for k := range n {
			name := fmt.Sprint(k)
			there := value(t, db, name) == name
			res, err := c.Commit(t.Context(), named(name, 1, put(name, name)))
			if err != nil || res.Replayed != there {
				t.Fatalf("clone %d: key %s there before: %v, replayed: %v, %v", i, name, there, res.Replayed, err)
			}
			if there {
				replayed++
			}
		}
		if err := errors.Join(stop(), db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if replayed == 0 || replayed == n*len(clones) {
		t.Errorf("%d of %d were replayed: the crashes were at the wrong moments", replayed, n*len(clones))
	}
}
