package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/importer"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/serve"
)

// head is a size and the root at it.
type head struct {
	Size uint64
	Root mmr.Digest
}

// server is the writer: a database, its keys, and the service on loopback.
type server struct {
	db  *database.DB
	log *slog.Logger

	head      head                // newest one
	published map[mmr.Digest]bool // every root since the service began
	keys      [][]byte            // that can be edited
	random    *rand.Rand
	edits     int

	lastEdited []byte

	listener net.Listener
	service  *serve.Server
	served   chan error
}

func newServer(dir string, log *slog.Logger) (*server, error) {
	db, err := database.Open(dir, database.Options{
		Codec:           operation.NewCodec(operation.Any, operation.Variable),
		CreateIfMissing: true,
		Logger:          log,
	})
	if err != nil {
		return nil, err
	}
	return &server{
		db: db, log: log.With("part", "server"),
		published: map[mmr.Digest]bool{},
		random:    rand.New(rand.NewPCG(1, 2)), // the same show every time
	}, nil
}

// load imports the material and learns the keys.
func (s *server) load(ctx context.Context, m material, dir string) (importer.Result, error) {
	paths, err := m.write(dir)
	if err != nil {
		return importer.Result{}, err
	}
	r, err := importer.Run(ctx, s.db, importer.Options{Paths: paths, BatchSize: 500, Logger: s.log})
	if err != nil {
		return r, err
	}
	view, err := s.db.View()
	if err != nil {
		return r, err
	}
	defer view.Close()
	s.note(head{view.Size(), view.Root()})
	err = view.Scan(nil, nil, func(key []byte, e database.Entry) bool {
		// Edits append; what is large already would only slow the show down.
		if len(e.Value) < 64<<10 && (m.tree == "" || !m.recorded(string(key))) {
			s.keys = append(s.keys, bytes.Clone(key))
		}
		return true
	})
	if err == nil && len(s.keys) == 0 {
		err = errors.New("nothing to edit in what was imported")
	}
	return r, err
}

func (s *server) note(h head) {
	s.head = h
	s.published[h.Root] = true
}

func (s *server) listen() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.listener = l
	s.service = serve.New(serve.FromDatabase(s.db), serve.Options{Logger: s.log})
	s.served = make(chan error, 1)
	go func() { s.served <- s.service.Serve(context.Background(), l) }() // joined by close
	return nil
}

func (s *server) addr() string { return s.listener.Addr().String() }

// edit commits a few changes to what was imported and says in short which.
func (s *server) edit(ctx context.Context) (string, error) {
	view, err := s.db.View()
	if err != nil {
		return "", err
	}
	defer view.Close()
	s.edits++
	var writes []database.Write
	changed := 1 + s.random.IntN(5)
	for range changed {
		key := s.keys[s.random.IntN(len(s.keys))]
		entry, err := view.Get(key)
		if err != nil {
			return "", err
		}
		value := fmt.Appendf(bytes.Clone(entry.Value), "\n// edit %d\n", s.edits)
		writes = append(writes, database.Write{Key: key, Value: value})
		s.lastEdited = key
	}
	note := fmt.Appendf(nil, "notes/edit-%d", s.edits)
	writes = append(writes, database.Write{Key: note, Value: fmt.Appendf(nil, "%d files edited", changed)})
	summary := fmt.Sprintf("%d edited, 1 new", changed)
	if s.edits > 1 {
		old := fmt.Appendf(nil, "notes/edit-%d", s.edits-1)
		writes = append(writes, database.Write{Key: old, Delete: true})
		summary += ", 1 deleted"
	}
	commit, err := s.db.Apply(ctx, database.Batch{Writes: writes, Metadata: note})
	if err != nil {
		return "", err
	}
	s.note(head{commit.Size, commit.Root})
	return summary, nil
}

func (s *server) close() error {
	var errs []error
	if s.service != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		errs = append(errs, s.service.Shutdown(ctx), <-s.served)
	}
	return errors.Join(append(errs, s.db.Close())...)
}

func get(db *database.DB, key []byte) ([]byte, error) {
	view, err := db.View()
	if err != nil {
		return nil, err
	}
	defer view.Close()
	entry, err := view.Get(key)
	if err != nil {
		return nil, fmt.Errorf("%w: %q", err, key)
	}
	return bytes.Clone(entry.Value), nil
}
