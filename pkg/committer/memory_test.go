package committer

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/store"
	"github.com/proofsync/proofsync/pkg/store/storetest"
)

func named(name string, mark byte, ws ...Write) Batch {
	return Batch{Writes: ws, IdempotencyKey: name, Fingerprint: [32]byte{mark}}
}

func measured(t testing.TB, m prometheus.Metric) float64 {
	t.Helper()
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		t.Fatal(err)
	}
	return d.GetCounter().GetValue() + d.GetGauge().GetValue()
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
	for range 300/atOnce + 1 {
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

func TestNoKeyIsForgottenEarlyWhenThereAreTooMany(t *testing.T) {
	fs := store.MemFS()
	db := open(t, fs, anyVariable)
	o := Options{MaxRemembered: 10, Remember: 500 * time.Millisecond, Metrics: NewMetrics(nil)}
	c := newCommitter(t, db, o)
	stop := run(t, c)
	began := time.Now()
	for i := range 12 {
		_, err := c.Commit(t.Context(), named(fmt.Sprint(i), 1, put("a", fmt.Sprint(i))))
		if (i < 10) != (err == nil) || i >= 10 && !errors.Is(err, ErrKeysFull) {
			t.Fatal(i, err)
		}
	}
	if n := measured(t, o.Metrics.refused[reasonKeysFull]); n != 2 {
		t.Errorf("%v refusals are counted", n)
	}
	if n := measured(t, o.Metrics.remembered); n != 10 {
		t.Errorf("%v keys are counted", n)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	c = newCommitter(t, db, o)
	run(t, c)
	if res, err := c.Commit(t.Context(), named("0", 1, put("a", "0"))); err != nil || !res.Replayed {
		t.Errorf("the oldest: %+v, %v", res, err)
	}
	if _, err := c.Commit(t.Context(), named("10", 1, put("a", "10"))); !errors.Is(err, ErrKeysFull) {
		t.Errorf("one too many: %v", err)
	}
	if _, err := c.Commit(t.Context(), batch(put("b", "1"))); err != nil || value(t, db, "b") != "1" {
		t.Errorf("without a key: %v", err)
	}
	for { // there is room again when the time of the others is over, and not before
		res, err := c.Commit(t.Context(), named("10", 1, put("a", "10")))
		if err == nil && !res.Replayed {
			break
		}
		if !errors.Is(err, ErrKeysFull) || time.Since(began) > 10*time.Second {
			t.Fatal(res, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if took := time.Since(began); took < o.Remember {
		t.Errorf("a key was forgotten after %v", took)
	}
}

func TestAProcessWithAShorterTimeKeepsTheKeysOfAnother(t *testing.T) {
	db := open(t, store.MemFS(), anyVariable)
	with := func(remember time.Duration, key string) Result {
		t.Helper()
		c := newCommitter(t, db, Options{Remember: remember})
		stop := run(t, c)
		res, err := c.Commit(t.Context(), named(key, 1, put("k-"+key, "1")))
		if err := errors.Join(err, stop()); err != nil {
			t.Fatal(err)
		}
		return res
	}
	with(time.Hour, "order")
	time.Sleep(15 * time.Millisecond)
	with(10*time.Millisecond, "of the tool")
	time.Sleep(15 * time.Millisecond)
	if !with(10*time.Millisecond, "order").Replayed || !with(time.Hour, "order").Replayed {
		t.Error("the key is forgotten")
	}
	if with(time.Hour, "of the tool").Replayed {
		t.Error("the key of the tool is known after its time")
	}
}

func TestANoteHoldsNoLongerThanItsTimeWhenTheClockIsSetBack(t *testing.T) {
	now := time.Now()
	r := record{base: 7, earlier: 8, part: 9, mark: mark{10}}
	n := r.note(hash{1}, now.Add(time.Hour), time.Minute)
	h, got, left, err := parseNote(n.Key[len(notePrefix):], n.Value, now)
	if err != nil || h != (hash{1}) || got != r || left != time.Minute {
		t.Errorf("%x, %+v, %v, %v", h, got, left, err)
	}
	if _, _, left, _ = parseNote(n.Key[len(notePrefix):], n.Value, now.Add(61*time.Minute+time.Second)); left != -time.Second {
		t.Errorf("a second too late: %v", left)
	}
	if _, _, _, err := parseNote(n.Key, n.Value, now); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("a key too long: %v", err)
	}
}

func TestAMillionKeysTakeLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a second")
	}
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	const n = 200_000
	before := heap()
	m, err := loadMemory(open(t, store.MemFS(), anyVariable), new(Options{}.withDefaults()))
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		b := named(fmt.Sprintf("%0200d", i), 1)
		m.commit(nil, []addition{m.addition(&b, uint64(i))}, uint64(i)+1)
	}
	each := (heap() - before) / n
	t.Logf("%d bytes for a key", each)
	if each > 170 {
		t.Errorf("%d bytes for a key", each)
	}
	runtime.KeepAlive(m)
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
