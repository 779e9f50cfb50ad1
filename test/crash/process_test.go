package crash

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/serve"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/store"
	"github.com/proofsync/proofsync/pkg/store/storetest"
	"github.com/proofsync/proofsync/pkg/syncer"
)

// dir is the storage directory on every disk: more than one level has to be made.
const dir = "var/data"

// patience bounds what takes milliseconds, but for clones that are checked
// meanwhile; only a failing test waits for it.
const patience = 5 * time.Minute

// process is a program that uses a disk.
type process struct {
	k    *kind
	disk *storetest.Disk
	logs logs
	db   atomic.Pointer[database.DB]

	// fatal gets the error for which the storage stopped the process.
	fatal chan error
	// source is what a replica follows.
	source atomic.Pointer[upstream]

	high     atomic.Int64  // newest acknowledged state that was seen
	retained atomic.Uint64 // where the log was made to begin
	backed   atomic.Bool   // a backup was reported to be complete
}

func newProcess(k *kind, disk *storetest.Disk, acked int) *process {
	p := &process{k: k, disk: disk, fatal: make(chan error, 1)}
	p.high.Store(int64(acked))
	return p
}

func (p *process) open() error {
	db, err := database.Open(dir, database.Options{
		Codec: p.k.codec, FS: p.disk.FS(), CreateIfMissing: !p.k.replica, CacheBytes: 1 << 20, LoadOperations: p.k.load, BulkOperations: p.k.bulk,
		Logger: slog.New(slog.NewTextHandler(&p.logs, nil)),
		Fatal:  func(err error) { p.fatal <- err },
	})
	if err != nil {
		return err
	}
	p.db.Store(db)
	return nil
}

func (p *process) close() error {
	p.acked()
	db := p.db.Swap(nil)
	if db == nil {
		return nil
	}
	return db.Close()
}

// acked is the number of the newest state that the process has acknowledged:
// that anybody could have read, or was told of; -1: none. It does no I/O.
func (p *process) acked() int {
	if db := p.db.Load(); db != nil {
		if s := db.Loads(); s.Published {
			if i, ok := p.k.ledger.index[s.Root]; ok {
				p.high.Store(max(p.high.Load(), int64(i)))
			}
		}
	}
	return int(p.high.Load())
}

// limit is the number of the newest state that may be on the disk already.
func (p *process) limit() int {
	if p.k.replica {
		if u := p.source.Load(); u != nil {
			return int(u.applied.Load())
		}
		return p.acked()
	}
	return min(p.acked()+p.k.ahead, p.k.ledger.last())
}

// logs is a log that is looked into while it is written.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// upstream is a real server with a real database, which a replica follows.
type upstream struct {
	db      *database.DB
	batches []database.Batch
	addr    string
	stop    func()
	applied atomic.Int64 // batches, those under way included
}

// served lets a server answer from a database.
type served struct{ *database.DB }

func (s served) View() (serve.View, error) {
	v, err := s.DB.View()
	if err != nil {
		return nil, err
	}
	return v, nil
}

// newUpstream serves the first so many batches.
func newUpstream(c operation.Codec, all []database.Batch, n int) (*upstream, error) {
	db, err := database.Open(dir, database.Options{Codec: c, FS: store.MemFS(), CreateIfMissing: true})
	if err != nil {
		return nil, err
	}
	u, err := serveDatabase(db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	stop := u.stop
	u.batches, u.stop = all, sync.OnceFunc(func() { stop(); db.Close() })
	return u, u.advance(n)
}

// serveDatabase serves a database that is open.
func serveDatabase(db *database.DB) (*upstream, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	srv := serve.New(served{db}, serve.Options{})
	done := make(chan error, 1)
	go func() { done <- srv.Serve(context.Background(), l) }()
	return &upstream{db: db, addr: l.Addr().String(), stop: func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		srv.Shutdown(ctx)
		<-done
	}}, nil
}

// advance applies batches up to the n-th.
func (u *upstream) advance(n int) error {
	u.applied.Store(int64(n))
	return applyFrom(u.db, u.batches, n, initialTogether)
}

func (u *upstream) root() mmr.Digest { return u.db.Loads().Root }

// counted is a source that tells of its answers.
type counted struct {
	source.Source
	answered func()
}

func (c counted) Operations(ctx context.Context, r source.Request) (*source.Answer, error) {
	a, err := c.Source.Operations(ctx, r)
	if err == nil && c.answered != nil {
		c.answered()
	}
	return a, err
}

// errCancelled: a sync was cut off on purpose.
var errCancelled = errors.New("cut off")

// sync follows the source until its newest root is readable. answered is called
// after every answer with their number; false cuts the sync off (errCancelled).
func (p *process) sync(u *upstream, answered func(n int) bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	peer := source.NewPeer(u.addr, source.PeerOptions{Codec: p.k.codec, Timeout: patience})
	defer peer.Close()
	var n atomic.Int64
	var cut atomic.Bool
	src := counted{peer, func() {
		if answered != nil && !answered(int(n.Add(1))) {
			cut.Store(true)
			cancel()
		}
	}}
	db := p.db.Load()
	s := syncer.New(db, src, syncer.Options{
		BatchSize: 100, MaxOutstanding: 4, Workers: 2, TargetInterval: 5 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(&p.logs, nil)),
	})
	for {
		_, err := s.Sync(ctx)
		if cut.Load() {
			if _, local := errors.AsType[*syncer.LocalError](err); !local {
				return errCancelled
			}
		}
		if err != nil {
			return err
		}
		if db.Loads().Root == u.root() {
			return nil
		}
	}
}
