package crash

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/importer"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
	"github.com/proofsync/proofsync/pkg/store/storetest"
)

// kind is one kind of write.
type kind struct {
	name    string
	codec   operation.Codec
	replica bool

	batches []database.Batch
	ledger  *ledger
	load    int // operations a load holds in memory; 0: the default
	bulk    int // from how many operations on a commit goes around the log; 0: the default, which is never reached

	// prepare brings the disk to where the write begins, and returns the number
	// of the state that is acknowledged then; nil: an empty disk, -1.
	prepare func() (*storetest.Disk, int, error)
	// run is the write, by a process that is not running yet.
	run func(p *process) error
	// ahead is how many states beyond the acknowledged one a crash may leave: 1,
	// or those that were applied without waiting for the disk.
	ahead int
	// again is what is repeated after a restart before the directory is opened, as
	// it is what makes it; nil: nothing.
	again func(p *process) error
	// goOn is what is done after a restart, up to the last state of the ledger.
	goOn func(p *process) error
	// source is complete, for replicas that go on.
	source *upstream

	syncs int  // points there have to be, or the test does not see them
	small bool // every operation fails once, also where not everything is checked

	prepared sync.Mutex
	disk     *storetest.Disk // of prepare, never used itself
	acked    int
}

// start makes a process on a disk where the write begins.
func (k *kind) start() (*process, error) {
	if k.prepare == nil {
		return newProcess(k, storetest.NewDisk(), -1), nil
	}
	k.prepared.Lock()
	defer k.prepared.Unlock()
	if k.disk == nil {
		disk, acked, err := k.prepare()
		if err != nil {
			return nil, fmt.Errorf("prepare: %w", err)
		}
		k.disk, k.acked = disk, acked
	}
	return newProcess(k, k.disk.Crash(100, 0), k.acked), nil
}

// opened runs fn between open and close.
func opened(p *process, fn func() error) error {
	if err := p.open(); err != nil {
		return err
	}
	return errors.Join(fn(), p.close())
}

// kinds are all kinds of writes. What they need lives until the end of the test.
var kinds = []func(testing.TB) *kind{
	creation, initial, commits(anyFixed), commits(immutableVariable), bulk, imports, restart, prune,
	coldSync, coldBulkSync, catchUp, movingTarget, generationSwitch, abandonedTarget,
	backup, restore("restore", false), restore("restore to a volume", true),
}

// writer completes a kind that applies batches: its ledger, and how to go on.
func writer(t testing.TB, k *kind) *kind {
	t.Helper()
	db, err := database.Open(dir, database.Options{Codec: k.codec, FS: store.MemFS(), CreateIfMissing: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := applyFrom(db, k.batches, len(k.batches), initialTogether); err != nil {
		t.Fatal(err)
	}
	k.ledger = newLedger(t, db)
	k.ahead = max(k.ahead, 1)
	k.goOn = func(p *process) error { return applyFrom(p.db.Load(), k.batches, len(k.batches), 1) }
	return k
}

// creation makes a directory and the first commit.
func creation(t testing.TB) *kind {
	return writer(t, &kind{
		name: "first creation", codec: anyFixed, batches: batches(anyFixed, 1, 20, 5), syncs: 10, small: true,
		run: func(p *process) error { return opened(p, func() error { return nil }) },
	})
}

// initialTogether batches take effect at once where there are many.
const initialTogether = 7

// initial applies batches, several at a time.
func initial(t testing.TB) *kind {
	k := &kind{name: "initial operations", codec: anyFixed, batches: batches(anyFixed, 2, 400, repeat(20, 30)...), ahead: initialTogether, syncs: 10}
	k.run = func(p *process) error {
		return opened(p, func() error { return applyFrom(p.db.Load(), k.batches, len(k.batches), initialTogether) })
	}
	return writer(t, k)
}

// commits applies small batches one by one, over two restarts.
func commits(c operation.Codec) func(testing.TB) *kind {
	return func(t testing.TB) *kind {
		k := &kind{name: "commit " + c.String(), codec: c, batches: batches(c, 3, 300, repeat(40, 24)...), syncs: 40}
		k.run = func(p *process) error {
			for _, to := range []int{9, 16, 24} {
				if err := opened(p, func() error { return applyFrom(p.db.Load(), k.batches, to, 1) }); err != nil {
					return err
				}
			}
			return nil
		}
		return writer(t, k)
	}
}

// bulk applies batches that go around the log, between small ones.
func bulk(t testing.TB) *kind {
	k := &kind{name: "bulk commit", codec: anyFixed, batches: batches(anyFixed, 4, 2_000, 50, 600, 20, 400, 10), bulk: 300, syncs: 40}
	k.run = func(p *process) error {
		return opened(p, func() error { return applyFrom(p.db.Load(), k.batches, len(k.batches), 1) })
	}
	return writer(t, k)
}

// prune forgets the beginning of the log, between commits.
func prune(t testing.TB) *kind {
	k := &kind{name: "prune", codec: anyFixed, batches: history(), syncs: 20, small: true}
	k.prepare = func() (*storetest.Disk, int, error) {
		p := newProcess(k, storetest.NewDisk(), -1)
		return p.disk, 8, opened(p, func() error { return applyFrom(p.db.Load(), k.batches, 8, 1) })
	}
	k.run = func(p *process) error {
		return opened(p, func() error {
			for to := 8; to <= len(k.batches); to += 3 {
				if err := errors.Join(applyFrom(p.db.Load(), k.batches, to, 1), p.prune()); err != nil {
					return err
				}
			}
			return nil
		})
	}
	k = writer(t, k)
	goOn := k.goOn
	k.goOn = func(p *process) error { return errors.Join(goOn(p), p.prune()) }
	return k
}

// prune forgets everything below the floor.
func (p *process) prune() error {
	db := p.db.Load()
	v, err := db.View()
	if err != nil {
		return err
	}
	floor := v.Floor()
	v.Close()
	start, err := db.Retain(floor)
	if err != nil {
		return err
	}
	p.retained.Store(start)
	for {
		s, err := db.PruneStep(context.Background())
		if err != nil || s.Done() {
			return err
		}
	}
}

// restart opens a directory whose process was killed, with a log to replay.
func restart(t testing.TB) *kind {
	k := &kind{name: "restart after a kill", codec: anyVariable, batches: batches(anyVariable, 5, 100, repeat(30, 12)...), syncs: 5}
	k.prepare = func() (*storetest.Disk, int, error) {
		live := newProcess(k, storetest.NewDisk(), -1)
		if err := live.open(); err != nil {
			return nil, 0, err
		}
		if err := applyFrom(live.db.Load(), k.batches, 8, 1); err != nil {
			return nil, 0, err
		}
		return live.disk.Crash(100, 0), 8, live.close()
	}
	k.run = func(p *process) error {
		return opened(p, func() error { return applyFrom(p.db.Load(), k.batches, len(k.batches), 1) })
	}
	return writer(t, k)
}

// imports reads a file into the database: most of it around the log.
func imports(t testing.TB) *kind {
	k := &kind{name: "import", codec: anyFixed, ahead: importer.Together, bulk: 200, syncs: 10, small: true}
	var lines []byte
	for i := range 500 {
		lines = fmt.Appendf(lines, `{"key_base64":%q,"value":"%d"}`+"\n", base64.StdEncoding.EncodeToString(make([]byte, 1+i%280)), i)
	}
	folder := t.TempDir()
	file := filepath.Join(folder, "in.jsonl")
	if err := os.WriteFile(file, lines, 0o600); err != nil {
		t.Fatal(err)
	}
	load := func(db *database.DB) error {
		_, err := importer.Run(context.Background(), db, importer.Options{Paths: []string{file}, BatchSize: 25, TempDir: folder})
		return err
	}
	db, err := database.Open(dir, database.Options{Codec: k.codec, FS: store.MemFS(), CreateIfMissing: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := load(db); err != nil {
		t.Fatal(err)
	}
	k.ledger = newLedger(t, db)
	k.goOn = func(p *process) error { return load(p.db.Load()) }
	k.run = func(p *process) error { return opened(p, func() error { return load(p.db.Load()) }) }
	return k
}
