package crash

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
	"github.com/proofsync/proofsync/pkg/store/storetest"
)

// machine is a server and two replicas, each a process on a disk of its own, and
// the naive model of what they have to show: maps, one for each size.
type machine struct {
	codec    operation.Codec
	server   *process
	replicas [2]*process

	newest uint64                       // size that the server acknowledged last
	roots  map[uint64]mmr.Digest        // of every size it ever acknowledged
	live   map[uint64]map[string]string // keys and values at that size
	shown  map[*process]uint64          // what a process acknowledged to its readers
}

func newMachine(t *rapid.T) *machine {
	m := &machine{codec: anyFixed, roots: map[uint64]mmr.Digest{}, live: map[uint64]map[string]string{}, shown: map[*process]uint64{}}
	ledger := &ledger{index: map[mmr.Digest]int{}}
	m.server = newProcess(&kind{codec: m.codec, ledger: ledger}, storetest.NewDisk(), -1)
	for i := range m.replicas {
		m.replicas[i] = newProcess(&kind{codec: m.codec, ledger: ledger, replica: true}, storetest.NewDisk(), -1)
	}
	for _, p := range m.all() {
		must(t, p.open())
	}
	s := m.server.db.Load().Loads()
	m.acknowledge(s.Size, s.Root, map[string]string{})
	m.shown[m.server] = s.Size
	return m
}

func (m *machine) all() []*process { return []*process{m.server, m.replicas[0], m.replicas[1]} }

func (m *machine) acknowledge(size uint64, root mmr.Digest, live map[string]string) {
	m.newest, m.roots[size], m.live[size] = size, root, live
}

func must(t *rapid.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// commit applies a batch: to few keys, so that they are written again.
func (m *machine) commit(t *rapid.T, n int) {
	var b database.Batch
	live := maps.Clone(m.live[m.newest])
	for range n {
		w := database.Write{
			Key:    sourcetest.Digest(1, uint64(rapid.IntRange(0, 60).Draw(t, "key"))),
			Value:  sourcetest.Digest(2, uint64(rapid.IntRange(0, 1<<20).Draw(t, "value"))),
			Delete: rapid.IntRange(0, 7).Draw(t, "delete") == 0,
		}
		b.Writes = append(b.Writes, w)
		live[string(w.Key)] = string(w.Value)
		if w.Delete {
			delete(live, string(w.Key))
		}
	}
	c, err := m.server.db.Load().Apply(context.Background(), b)
	must(t, err)
	m.acknowledge(c.Size, c.Root, live)
	m.shown[m.server] = c.Size
}

// pick chooses one of the processes.
func (m *machine) pick(t *rapid.T) *process {
	return m.all()[rapid.IntRange(0, 2).Draw(t, "process")]
}

// crash cuts the power of a process and starts it on what is left.
func (m *machine) crash(t *rapid.T) {
	p := m.pick(t)
	left := p.disk.Crash(rapid.IntRange(0, 100).Draw(t, "percent"), rapid.Uint64().Draw(t, "seed"))
	must(t, p.close()) // what it still does is not on the disk that is left
	p.disk = left
	must(t, p.open())
}

// reopen ends a process in good order and starts it again.
func (m *machine) reopen(t *rapid.T) {
	p := m.pick(t)
	must(t, p.close())
	must(t, p.open())
}

// sync lets a replica follow the server, or one that moves meanwhile; it may be
// cut off.
func (m *machine) sync(t *rapid.T) {
	p := m.replicas[rapid.IntRange(0, 1).Draw(t, "replica")]
	u, err := serveDatabase(m.server.db.Load())
	must(t, err)
	defer u.stop()
	cut, moves := rapid.IntRange(0, 6).Draw(t, "cut"), rapid.IntRange(0, 2).Draw(t, "moves")
	err = p.sync(u, func(n int) bool {
		if n <= moves && n != cut {
			m.commit(t, 5)
		}
		return n != cut
	})
	if !errors.Is(err, errCancelled) {
		must(t, err)
	}
	if s := p.db.Load().Loads(); s.Published {
		m.shown[p] = s.Size
	}
}

// prune forgets what lies below the floor of a process.
func (m *machine) prune(t *rapid.T) {
	p := m.pick(t)
	if err := p.prune(); !errors.Is(err, database.ErrEmpty) {
		must(t, err)
	}
}

// check compares every process with the model.
func (m *machine) check(t *rapid.T) {
	for i, p := range m.all() {
		s := p.db.Load().Loads()
		if s.Size < m.shown[p] || s.Published && m.roots[s.Size] != s.Root || p == m.server && s.Size != m.newest {
			t.Fatalf("process %d shows size %d root %s; it acknowledged %d, the server %d", i, s.Size, s.Root, m.shown[p], m.newest)
		}
		if !s.Published {
			continue
		}
		must(t, m.reads(p, s.Size))
	}
}

func (m *machine) reads(p *process, size uint64) error {
	v, err := p.db.Load().View()
	if err != nil {
		return err
	}
	defer v.Close()
	got := map[string]string{}
	err = v.Scan(nil, nil, func(key []byte, e database.Entry) bool {
		got[string(key)] = string(e.Value)
		return true
	})
	if err == nil && !maps.Equal(got, m.live[size]) {
		err = fmt.Errorf("%d keys at size %d, or their values, are not the model's %d", len(got), size, len(m.live[size]))
	}
	return errors.Join(err, p.k.verify(v))
}

// A server and two replicas go through batches, restarts, crashes, prunings and
// syncs in any order, and show what the model does.
func TestAServerAndItsReplicasAreTheModel(t *testing.T) {
	if !everything {
		if err := flag.Set("rapid.checks", "12"); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t)
		t.Repeat(map[string]func(*rapid.T){
			"":       m.check,
			"commit": func(t *rapid.T) { m.commit(t, rapid.IntRange(0, 60).Draw(t, "writes")) },
			"more":   func(t *rapid.T) { m.commit(t, 40); m.commit(t, 40); m.commit(t, 40) },
			"sync":   m.sync,
			"again":  m.sync,
			"crash":  m.crash,
			"reopen": m.reopen,
			"prune":  m.prune,
		})
		for _, p := range m.all() {
			must(t, p.close())
			if p == m.server || m.shown[p] > 0 {
				must(t, inspect(p.disk, dir))
			}
		}
	})
}
