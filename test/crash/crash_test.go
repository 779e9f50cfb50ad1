package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/fsck"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/store"
	"github.com/proofsync/proofsync/pkg/store/storetest"
)

// everything says whether to check all there is, or as much as fits into a
// few seconds.
var everything = os.Getenv("PROOFSYNC_CRASH") == "all"

// durable says whether an operation makes something durable, or removes it:
// the points at which a power cut is most likely to be one too many.
func durable(o storetest.Op) bool {
	return slices.Contains([]storetest.Kind{storetest.Sync, storetest.SyncData, storetest.Rename, storetest.Link, storetest.Remove}, o.Kind)
}

// clone is a disk after a power cut, and what has to be on it.
type clone struct {
	disk         *storetest.Disk
	acked, limit int
	retained     uint64 // the log does not begin before
	backed       bool   // there is a complete backup
	where        string
}

func TestNothingIsLostByAPowerCut(t *testing.T) {
	table := []string{fmt.Sprintf("%-26s %8s %8s %8s %8s %8s", "kind of write", "syncs", "in bulk", "others", "clones", "seconds")}
	for _, newKind := range kinds {
		k := newKind(t)
		t.Run(k.name, func(t *testing.T) {
			began := time.Now()
			syncs, inBulk, others := k.count(t)
			if syncs < k.syncs || (k.bulk > 0) != (inBulk > 0) {
				t.Errorf("%d sync points, at least %d expected; %d in bulk: what is watched?", syncs, k.syncs, inBulk)
			}
			n := k.cutPower(t, syncs, others)
			if want := min(syncs, 4); n < want {
				t.Errorf("%d clones checked, at least %d expected", n, want)
			}
			table = append(table, fmt.Sprintf("%-26s %8d %8d %8d %8d %8.1f", k.name, syncs, inBulk, others, n, time.Since(began).Seconds()))
		})
	}
	t.Log("\n" + strings.Join(table, "\n"))
}

// count does the write once and counts its points, those of them while a large
// commit goes around the log, and its other operations that change the disk.
func (k *kind) count(t *testing.T) (syncs, inBulk, others int) {
	t.Helper()
	p, err := k.start()
	if err != nil {
		t.Fatal(err)
	}
	var around bulks
	p.disk.Watch(nil, func(o storetest.Op) {
		during := around.during(o)
		switch {
		case durable(o):
			syncs++
			if during {
				inBulk++
			}
		case !o.Kind.Reads():
			others++
		}
	})
	if err := k.run(p); err != nil {
		t.Fatalf("%v\n%s", err, p.logs.String())
	}
	if got := p.acked(); got < 0 {
		t.Fatal("nothing was acknowledged")
	}
	return syncs, inBulk, others
}

// bulks are the commits that go around the log just now, by the directories of their tables.
type bulks map[string]bool

// during says whether an operation happens between the making of such a directory,
// and its removal after the tables were taken in; also beside it.
func (b *bulks) during(o storetest.Op) bool {
	if path.Ext(o.Path) == ".load" {
		switch o.Kind {
		case storetest.Mkdir:
			if *b == nil {
				*b = bulks{}
			}
			(*b)[o.Path] = true
		case storetest.Remove:
			defer delete(*b, o.Path)
		}
	}
	return len(*b) > 0
}

// cutPower does the write, clones its disk at the points, and checks the clones.
func (k *kind) cutPower(t *testing.T, syncs, others int) (checked int) {
	t.Helper()
	clones := make(chan clone)
	var checks sync.WaitGroup
	for range 2 {
		checks.Go(func() {
			for c := range clones {
				if err := k.survives(c); err != nil {
					t.Errorf("%s, acknowledged state %d: %v", c.where, c.acked, err)
				}
			}
		})
	}
	p, err := k.start()
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(uint64(len(k.name)), 7))
	points, between := 0, 0
	most := 8 // points that are sampled
	if raced {
		most = 4
	}
	cut := func(o storetest.Op, percent int) {
		if failfast() && t.Failed() {
			return
		}
		seed := rng.Uint64()
		checked++
		clones <- clone{
			disk: p.disk.Crash(percent, seed), acked: p.acked(), limit: p.limit(), retained: p.retained.Load(), backed: p.backed.Load(),
			where: fmt.Sprintf("after point %d, operation %d (%s %s) with %d%% of what was not synced, seed %d", points, between, o.Kind, o.Path, percent, seed),
		}
	}
	p.disk.Watch(func(o storetest.Op) error {
		// What was acknowledged before must not need this one.
		if durable(o) && (everything || points%(1+syncs/most) == 0) {
			cut(o, 0)
		}
		return nil
	}, func(o storetest.Op) {
		switch {
		case durable(o):
			points++
			switch {
			case everything:
				for _, percent := range []int{0, 20, 50, 50, 80, 100} {
					cut(o, percent)
				}
			case points%(1+syncs/most) == 0:
				cut(o, []int{0, 30, 60, 100}[points%4])
				if !raced {
					cut(o, []int{30, 60, 100}[rng.IntN(3)])
				}
			}
		case !o.Kind.Reads():
			between++
			if everything && rng.IntN(4) == 0 || !raced && rng.IntN(1+others/2) == 0 {
				cut(o, rng.IntN(101))
			}
		}
	})
	err = k.run(p)
	p.disk.Watch(nil, nil)
	close(clones)
	checks.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return checked
}

// survives starts a process on what a crash left: it has to open, to show a
// state that was acknowledged or the next one, to be right, and to go on.
func (k *kind) survives(c clone) error {
	p := newProcess(k, c.disk, c.acked)
	if k.again != nil {
		if err := k.again(p); err != nil {
			return fmt.Errorf("cannot be done again: %w", err)
		}
	}
	if c.backed {
		if _, err := c.disk.FS().Stat(backupDir); err != nil {
			return fmt.Errorf("the backup is gone: %w", err)
		}
	}
	if err := inspect(c.disk, dir); err != nil && !(c.acked < 0 && errors.Is(err, store.ErrNotFound)) {
		return err
	}
	if err := p.open(); err != nil {
		return fmt.Errorf("does not open: %w", err)
	}
	if v, err := p.db.Load().View(); err == nil && v.Start() < c.retained {
		return fmt.Errorf("begins at %d, was made to begin at %d", v.Start(), c.retained)
	} else if err == nil {
		v.Close()
	}
	if err := errors.Join(k.goesOn(p, c), p.close()); err != nil {
		return fmt.Errorf("%w\n%s", err, p.logs.String())
	}
	if err := p.open(); err != nil {
		return fmt.Errorf("does not open once more: %w", err)
	}
	if err := errors.Join(k.shows(p, k.ledger.last()), p.close()); err != nil {
		return err
	}
	return inspect(c.disk, dir)
}

// inspect has fsck recompute everything in a storage directory from the operations.
func inspect(d *storetest.Disk, path string) error {
	r, err := fsck.Check(context.Background(), path, fsck.Options{FS: d.FS(), Workers: 1, CacheBytes: 1 << 20})
	if err == nil && !r.Clean() {
		err = fmt.Errorf("%v", r.Findings)
	}
	if err != nil {
		return fmt.Errorf("fsck of %s: %w", path, err)
	}
	return nil
}

func (k *kind) goesOn(p *process, c clone) error {
	found := -1
	if s := p.db.Load().Loads(); s.Published {
		var ok bool
		if found, ok = k.ledger.index[s.Root]; !ok {
			return fmt.Errorf("shows root %s at size %d, which no commit has", s.Root, s.Size)
		}
		if err := k.shows(p, found); err != nil {
			return err
		}
	}
	lost, early := found < c.acked, found > c.limit && (found > 0 || k.replica)
	if lost || early {
		return fmt.Errorf("shows state %d; %d was acknowledged, at most %d may be there", found, c.acked, c.limit)
	}
	if err := k.goOn(p); err != nil {
		return fmt.Errorf("does not go on from state %d: %w", found, err)
	}
	return k.shows(p, k.ledger.last())
}

// shows compares all that can be read with a state of the ledger.
func (k *kind) shows(p *process, n int) error {
	want := k.ledger.states[n]
	v, err := p.db.Load().View()
	if err != nil {
		return err
	}
	defer v.Close()
	if v.Root() != want.root || v.Size() != want.size {
		return fmt.Errorf("root %s at size %d, state %d has %s at %d", v.Root(), v.Size(), n, want.root, want.size)
	}
	keys := 0
	var wrong error
	err = v.Scan(nil, nil, func(key []byte, e database.Entry) bool {
		keys++
		if value, ok := want.live[string(key)]; !ok || value != string(e.Value) {
			wrong = fmt.Errorf("key %x reads as %x in state %d, want %x", key, e.Value, n, value)
		}
		return wrong == nil
	})
	if wrong == nil && err == nil && keys != len(want.live) {
		wrong = fmt.Errorf("%d keys in state %d, want %d", keys, n, len(want.live))
	}
	if err := errors.Join(err, wrong, k.proves(v, n)); err != nil {
		return err
	}
	if k.replica || len(k.batches) == 0 {
		return nil
	}
	// The writer's notes are those of the same commit.
	if done, err := applied(p.db.Load()); err != nil || done != n {
		return fmt.Errorf("notes are of batch %d, the state is %d (%v)", done, n, err)
	}
	return nil
}

// proves computes older roots, and a proof over everything that is retained,
// from the digests on disk.
func (k *kind) proves(v *database.View, n int) error {
	for _, s := range k.ledger.states[max(0, n-3) : n+1] {
		if s.size <= v.Start() {
			continue
		}
		if root, err := v.RootAt(s.size); err != nil || root != s.root {
			return fmt.Errorf("root at size %d is %s, want %s (%v)", s.size, root, s.root, err)
		}
	}
	return k.verify(v)
}

// verify proves the retained operations, all at once and a few in the middle,
// from the digests on disk.
func (k *kind) verify(v *database.View) error {
	middle := v.Start() + (v.Size()-v.Start())/2
	for _, r := range [][2]uint64{{v.Start(), v.Size()}, {middle, middle + 1}} {
		ops, n, err := v.AppendOperations(nil, r[0], r[1], 1<<30)
		if err != nil || uint64(n) != r[1]-r[0] {
			return fmt.Errorf("%d operations of %v: %w", n, r, err)
		}
		run, err := k.codec.NewRun(ops)
		if err != nil {
			return err
		}
		proof, err := v.Prove(v.Size(), r[0], r[1])
		if err != nil {
			return err
		}
		if err := proof.Verify(mmr.HashSpan(r[0], run), v.Root()); err != nil {
			return fmt.Errorf("operations %v: %w", r, err)
		}
	}
	return nil
}
