package witness

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
)

const logName = "example.org/log"

var anyFixed = operation.NewCodec(operation.Any, operation.Fixed)

func TestMain(m *testing.M) {
	if path := os.Getenv(childState); path != "" {
		child(path)
		return
	}
	goleak.VerifyTestMain(m)
}

// party is somebody who signs.
type party struct {
	private string
	signer  checkpoint.Signer
	key     checkpoint.Key
}

func newParty(t testing.TB, name string) party {
	t.Helper()
	private, public, err := checkpoint.GenerateKey(name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := checkpoint.ParseSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := checkpoint.ParseKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return party{private, signer, key}
}

// history is a log and its writer.
type history struct {
	t  testing.TB
	db *database.DB
	by party
}

func newHistory(t testing.TB, by party) *history {
	h := &history{t, sourcetest.Writer(t, anyFixed), by}
	h.grow(1) // what all histories begin with
	return h
}

func (h *history) grow(salt uint64) {
	h.t.Helper()
	sourcetest.Commit(h.t, h.db, salt, 3, 5)
}

// checkpoint is what the log is now.
func (h *history) checkpoint(change ...func(*checkpoint.Checkpoint)) checkpoint.Checkpoint {
	h.t.Helper()
	v, err := h.db.View()
	if err != nil {
		h.t.Fatal(err)
	}
	defer v.Close()
	c := checkpoint.Checkpoint{Origin: logName, Target: sourcetest.Target(v), Codec: anyFixed, Time: time.Now().UTC().Truncate(time.Second)}
	for _, f := range change {
		f(&c)
	}
	return c
}

func (h *history) note(change ...func(*checkpoint.Checkpoint)) []byte {
	h.t.Helper()
	return noteOf(h.t, h.checkpoint(change...), h.by)
}

func noteOf(t testing.TB, c checkpoint.Checkpoint, by party) []byte {
	t.Helper()
	note, err := checkpoint.Sign(c, by.signer)
	if err != nil {
		t.Fatal(err)
	}
	return note
}

// server serves a history over a real connection.
func server(t testing.TB, h sourcetest.Handler) *source.Pool {
	t.Helper()
	s := sourcetest.Start(t, h)
	pool := source.NewPool([]source.Source{source.NewPeer(s.Addr, source.PeerOptions{Codec: anyFixed})}, source.PoolOptions{})
	t.Cleanup(func() { _ = pool.Close() })
	return pool
}

// scene is a witness of a writer's history.
type scene struct {
	t       testing.TB
	h       *history
	writer  party
	self    party
	path    string
	log     lines
	options Options
	*Witness
}

func newScene(t testing.TB, change ...func(*Options)) *scene {
	t.Helper()
	s := &scene{t: t, writer: newParty(t, "writer"), self: newParty(t, "witness"), path: filepath.Join(t.TempDir(), "state")}
	s.h = newHistory(t, s.writer)
	s.options = Options{
		Origin: logName, Keys: []checkpoint.Key{s.writer.key}, Own: []checkpoint.Key{s.self.key},
		Cosign:   func(note []byte) ([]byte, error) { return checkpoint.Cosign(note, s.self.signer) },
		Source:   server(t, sourcetest.Honest(s.h.db)),
		FirstUse: true, Logger: slog.New(slog.NewTextHandler(&s.log, nil)),
	}
	for _, f := range change {
		f(&s.options)
	}
	s.start()
	t.Cleanup(func() { _ = s.options.State.Close() })
	return s
}

// start starts the witness, again if it was stopped.
func (s *scene) start() {
	s.t.Helper()
	var err error
	if s.options.State != nil {
		if err := s.options.State.Close(); err != nil {
			s.t.Fatal(err)
		}
	}
	if s.options.State, err = OpenState(s.path); err != nil {
		s.t.Fatal(err)
	}
	if s.Witness, err = New(s.options); err != nil {
		s.t.Fatal(err)
	}
}

// signs wants a note to be cosigned.
func (s *scene) signs(note []byte) []byte {
	s.t.Helper()
	signed, err := s.Sign(context.Background(), note)
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := checkpoint.Peek(note)
	if err != nil {
		s.t.Fatal(err)
	}
	both := checkpoint.Trust{Origin: logName, Codec: c.Codec, Keys: []checkpoint.Key{s.writer.key, s.self.key}, Quorum: 2}
	if _, err := both.Verify(signed, time.Now()); err != nil {
		s.t.Fatalf("%v in\n%s", err, signed)
	}
	return signed
}

// refuses wants a note not to be cosigned.
func (s *scene) refuses(code document.Code, note []byte) error {
	s.t.Helper()
	signed, err := s.Sign(context.Background(), note)
	refused, ok := errors.AsType[*RefusedError](err)
	if !ok || refused.Code != code {
		s.t.Fatalf("want %s, got %v and note %q", code, err, signed)
	}
	return err
}

// kept are the files of evidence.
func (s *scene) kept() []string {
	all, err := filepath.Glob(s.path + ".fork-*")
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// lines is a log that tests read.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), s)
}
