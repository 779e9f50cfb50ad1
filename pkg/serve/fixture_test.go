package serve

import (
	"encoding/binary"
	"sync/atomic"
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

type commit struct {
	Size uint64
	Root mmr.Digest
}

// fixture is a database with a history that tests know.
type fixture struct {
	Database
	db      *database.DB
	keys    uint64   // written so far
	commits []commit // from the first on, oldest first
}

func (f *fixture) last() commit { return f.commits[len(f.commits)-1] }

var anyFixed = operation.NewCodec(operation.Any, operation.Fixed)

// newFixture is a database of this many commits (a fresh one has the first),
// each of this many new keys with values of valueSize bytes (32 in fixed).
func newFixture(t testing.TB, codec operation.Codec, commits, writes, valueSize int) *fixture {
	t.Helper()
	db, err := database.Open("db", database.Options{Codec: codec, FS: store.MemFS(), CreateIfMissing: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{Database: FromDatabase(db), db: db, commits: []commit{{v.Size(), v.Root()}}}
	v.Close()
	for range commits - 1 {
		f.grow(t, writes, valueSize)
	}
	return f
}

// grow adds a commit of new keys.
func (f *fixture) grow(t testing.TB, writes, valueSize int) {
	t.Helper()
	var b database.Batch
	for range writes {
		key, value := make([]byte, 32), make([]byte, valueSize)
		f.keys++
		binary.BigEndian.PutUint64(key, f.keys*0x9e3779b97f4a7c15) // spread over the key space
		binary.BigEndian.PutUint64(value, f.keys)
		b.Writes = append(b.Writes, database.Write{Key: key, Value: value})
	}
	c, err := f.db.Apply(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	f.commits = append(f.commits, commit{c.Size, c.Root})
}

// gated is a database whose views wait until the gate is open.
type gated struct {
	Database
	gate    chan struct{} // closed: open
	waiting atomic.Int64
}

func newGated(db Database) *gated { return &gated{Database: db, gate: make(chan struct{})} }

func (g *gated) View() (View, error) {
	g.waiting.Add(1)
	<-g.gate
	g.waiting.Add(-1)
	return g.Database.View()
}

// failing is a database whose views fail to read.
type failing struct {
	Database
	err error
}

func (f failing) View() (View, error) {
	v, err := f.Database.View()
	return failingView{v, f.err}, err
}

type failingView struct {
	View
	err error
}

func (f failingView) AppendOperations(dst []byte, _, _ uint64, _ int) ([]byte, int, error) {
	return dst, 0, f.err
}

// unopened is a database that has no published state yet.
type unopened struct {
	Database
	err error
}

func (u unopened) View() (View, error) { return nil, u.err }

// newReplica is a database that nothing was published in yet.
func newReplica(t testing.TB) *database.DB {
	t.Helper()
	db, err := database.Open("replica", database.Options{Codec: anyFixed, FS: store.MemFS()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}
