package committer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var anyVariable = operation.NewCodec(operation.Any, operation.Variable)

func open(t testing.TB, fs store.FS, c operation.Codec) *database.DB {
	t.Helper()
	db, err := database.Open("db", database.Options{Codec: c, FS: fs, CreateIfMissing: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func newCommitter(t testing.TB, db *database.DB, o Options) *Committer {
	t.Helper()
	c, err := New(db, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// run starts c until the end of the test, or until stop.
func run(t testing.TB, c *Committer) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return stop
}

func put(key, value string) Write { return Write{Key: []byte(key), Value: []byte(value)} }

func batch(ws ...Write) Batch { return Batch{Writes: ws} }

type outcome struct {
	res Result
	err error
}

// together hands batches in, in this order, before c runs: they are one group
// as far as they may be.
func together(t testing.TB, c *Committer, bs ...Batch) []outcome {
	t.Helper()
	out := make([]outcome, len(bs))
	var wg sync.WaitGroup
	for i, b := range bs {
		n := len(c.queue)
		wg.Go(func() { out[i].res, out[i].err = c.Commit(context.Background(), b) })
		for len(c.queue) == n && !c.busy(b.IdempotencyKey) {
			time.Sleep(50 * time.Microsecond)
		}
	}
	run(t, c)
	wg.Wait()
	return out
}

// busy says whether a batch of that name is in work.
func (c *Committer) busy(key string) bool {
	c.mem.mu.Lock()
	defer c.mem.mu.Unlock()
	return key != "" && c.mem.inFlight[key] != nil
}

func value(t testing.TB, db *database.DB, key string) string {
	t.Helper()
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	e, err := v.Get([]byte(key))
	if errors.Is(err, database.ErrKeyNotFound) {
		return "none"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(e.Value)
}

func TestBatchesThatWaitShareACommit(t *testing.T) {
	db := open(t, store.MemFS(), anyVariable)
	c := newCommitter(t, db, Options{})
	out := together(t, c,
		batch(put("a", "1")),
		batch(Write{Key: []byte("a"), Value: []byte("2"), IfValue: []byte("1")}),
		batch(Write{Key: []byte("a"), Value: []byte("3"), IfValue: []byte("1")}),
		batch(put("b", "1"), Write{Key: []byte("c"), Value: []byte("1"), IfAbsent: true}),
	)
	for i, want := range []error{nil, nil, ErrPrecondition, nil} {
		if !errors.Is(out[i].err, want) {
			t.Errorf("batch %d: %v, want %v", i, out[i].err, want)
		}
	}
	if out[0].res != out[1].res || out[0].res != out[3].res || out[0].res.Location != out[0].res.Size-1 {
		t.Errorf("not one commit: %+v", out)
	}
	if a, b := value(t, db, "a"), value(t, db, "b"); a != "2" || b != "1" {
		t.Errorf("a is %s, b is %s", a, b)
	}
	// The answer names a state that is readable, not only written.
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if v.Root() != out[0].res.Root || v.Size() != out[0].res.Size {
		t.Errorf("answered %+v, readable is %s at %d", out[0].res, v.Root(), v.Size())
	}
}

func TestAConditionOnALocationWaitsForTheCommitThatMakesIt(t *testing.T) {
	db := open(t, store.MemFS(), anyVariable)
	c := newCommitter(t, db, Options{})
	// The fresh database has one commit, so a is written at 1, and moved once
	// as the floor is raised.
	loc := uint64(2)
	out := together(t, c,
		batch(put("a", "1")),
		batch(Write{Key: []byte("a"), Value: []byte("2"), IfLocation: &loc}),
		batch(put("b", "1")),
	)
	for i, o := range out {
		if o.err != nil {
			t.Errorf("batch %d: %v", i, o.err)
		}
	}
	if out[0].res.Size >= out[1].res.Size || out[1].res != out[2].res {
		t.Errorf("commits at %d, %d and %d", out[0].res.Size, out[1].res.Size, out[2].res.Size)
	}
}

func TestMetadataFloorsAndRootsHaveACommitOfTheirOwn(t *testing.T) {
	db := open(t, store.MemFS(), anyVariable)
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	root := v.Root()
	v.Close()
	c := newCommitter(t, db, Options{})
	withRoot, stale := batch(put("r", "1")), batch(put("s", "1"))
	withRoot.IfRoot, stale.IfRoot = &root, &mmr.Digest{1}
	withMeta := batch(put("m", "1"))
	withMeta.Metadata = []byte("meta")
	out := together(t, c, withRoot, batch(put("a", "1")), withMeta, stale, withRoot, batch(put("b", "1")))
	for i, want := range []error{nil, nil, nil, ErrPrecondition, ErrPrecondition, nil} {
		if !errors.Is(out[i].err, want) {
			t.Errorf("batch %d: %v, want %v", i, out[i].err, want)
		}
	}
	if !(out[0].res.Size < out[1].res.Size && out[1].res.Size < out[2].res.Size && out[2].res.Size < out[5].res.Size) {
		t.Errorf("%+v", out)
	}
	var e *PreconditionError
	if !errors.As(out[4].err, &e) || e.Condition != IfRoot || e.Got.State.Root != out[2].res.Root {
		t.Errorf("%v, the root was %s", out[4].err, out[2].res.Root)
	}
}

func TestImmutableKeysAreWrittenOnce(t *testing.T) {
	db := open(t, store.MemFS(), operation.NewCodec(operation.Immutable, operation.Variable))
	c := newCommitter(t, db, Options{})
	floor, far := uint64(1), uint64(1000)
	withFloor, tooFar := batch(put("c", "1")), batch(put("d", "1"))
	withFloor.Floor, tooFar.Floor = &floor, &far
	out := together(t, c,
		batch(put("a", "1")), batch(put("a", "2")), batch(put("b", "1"), put("a", "3")),
		withFloor, tooFar, batch(put("c", "2")))
	for i, want := range []error{nil, ErrImmutable, ErrImmutable, nil, database.ErrFloor, ErrImmutable} {
		if !errors.Is(out[i].err, want) {
			t.Errorf("batch %d: %v, want %v", i, out[i].err, want)
		}
	}
	if a, b, d := value(t, db, "a"), value(t, db, "b"), value(t, db, "d"); a != "1" || b != "none" || d != "none" {
		t.Errorf("a is %s, b is %s, d is %s", a, b, d)
	}
	if out[3].res.Floor != floor {
		t.Errorf("floor is %d", out[3].res.Floor)
	}
	_, err := c.Commit(t.Context(), batch(Write{Key: []byte("a"), Delete: true}))
	var w *WriteError
	if !errors.As(err, &w) || !errors.Is(err, ErrImmutable) || string(w.Key) != "a" {
		t.Errorf("deleting: %v", err)
	}
}

func TestBatchesThatCanNeverBeAppliedAreRefusedAtOnce(t *testing.T) {
	db := open(t, store.MemFS(), operation.NewCodec(operation.Any, operation.Fixed))
	c := newCommitter(t, db, Options{}) // does not run
	key, one := bytes.Repeat([]byte("k"), 32), uint64(1)
	for name, x := range map[string]struct {
		batch Batch
		want  error
	}{
		"short key":      {batch(Write{Key: []byte("k"), Value: key}), operation.ErrKeySize},
		"short value":    {batch(Write{Key: key, Value: []byte("v")}), operation.ErrValueSize},
		"key twice":      {batch(Write{Key: key, Value: key}, Write{Key: key, Delete: true}), ErrDuplicate},
		"two conditions": {batch(Write{Key: key, Value: key, IfAbsent: true, IfLocation: &one}), ErrConditions},
		"valued delete":  {batch(Write{Key: key, Value: key, Delete: true}), ErrConditions},
		"floor of any":   {Batch{Floor: &one}, database.ErrFloor},
		"metadata":       {Batch{Metadata: []byte("short")}, operation.ErrValueSize},
		"long name":      {Batch{IdempotencyKey: fmt.Sprintf("%513d", 1)}, ErrIdempotencyKey},
	} {
		if _, err := c.Commit(t.Context(), x.batch); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", name, err, x.want)
		}
	}
}

func TestGroupsKeepTheirBounds(t *testing.T) {
	db := open(t, store.MemFS(), anyVariable)
	c := newCommitter(t, db, Options{MaxGroupWrites: 3, MaxGroupBatches: 2})
	out := together(t, c,
		batch(put("a", "1")), batch(put("b", "1")), batch(put("c", "1")),
		batch(put("d", "1"), put("e", "1"), put("f", "1")),
		batch(put("g", "1"), put("h", "1"), put("i", "1"), put("j", "1")))
	var sizes []uint64
	for _, o := range out {
		if o.err != nil {
			t.Fatal(o.err)
		}
		sizes = append(sizes, o.res.Size)
	}
	if sizes[0] != sizes[1] || sizes[1] >= sizes[2] || sizes[2] >= sizes[3] || sizes[3] >= sizes[4] {
		t.Errorf("sizes %v", sizes)
	}
}

func TestWhatIsGivenUpBeforeItsTurnIsNotCommitted(t *testing.T) {
	db := open(t, store.MemFS(), anyVariable)
	c := newCommitter(t, db, Options{MaxWaiting: 1})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if _, err := c.Commit(ctx, batch(put("a", "1"))); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	// There is no place in the queue for another one.
	full, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if _, err := c.Commit(full, batch(put("b", "1"))); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	run(t, c)
	if _, err := c.Commit(t.Context(), batch(put("c", "1"))); err != nil {
		t.Fatal(err)
	}
	if a, b := value(t, db, "a"), value(t, db, "b"); a != "none" || b != "none" {
		t.Errorf("a is %s, b is %s", a, b)
	}
}

func TestEveryCallIsAnsweredWhenRunEnds(t *testing.T) {
	db := open(t, store.MemFS(), anyVariable)
	c := newCommitter(t, db, Options{MaxWaiting: 4})
	stop := run(t, c)
	var wg sync.WaitGroup
	written := make([][]string, 8)
	for g := range written {
		wg.Go(func() {
			for i := 0; ; i++ {
				k := fmt.Sprintf("%d-%d", g, i)
				_, err := c.Commit(context.Background(), batch(put(k, "1")))
				if errors.Is(err, ErrClosed) {
					if value(t, db, k) != "none" {
						t.Errorf("%s was committed, the answer says it was not", k)
					}
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				written[g] = append(written[g], k)
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	for _, keys := range written {
		for _, k := range keys {
			if value(t, db, k) != "1" {
				t.Errorf("%s was acknowledged and is not there", k)
			}
		}
	}
}

func TestADatabaseThatFailsEndsRun(t *testing.T) {
	db := open(t, store.MemFS(), anyVariable)
	c := newCommitter(t, db, Options{})
	done := make(chan error, 1)
	go func() { done <- c.Run(context.Background()) }()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Commit(t.Context(), batch(put("a", "1"))); !errors.Is(err, database.ErrClosed) {
		t.Errorf("Commit: %v", err)
	}
	if err := <-done; !errors.Is(err, database.ErrClosed) {
		t.Errorf("Run: %v", err)
	}
	if _, err := c.Commit(t.Context(), batch(put("a", "1"))); !errors.Is(err, ErrClosed) {
		t.Errorf("Commit after the end: %v", err)
	}
}
