package targets_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/targets"
	"github.com/proofsync/proofsync/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const origin = "example.org/orders"

// noon is when every test begins.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// key is a key pair.
type key struct {
	checkpoint.Signer
	public checkpoint.Key
}

func newKey(t testing.TB, name string) key {
	t.Helper()
	private, public, err := checkpoint.GenerateKey(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := checkpoint.ParseSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	k, err := checkpoint.ParseKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key{s, k}
}

// at is the statement that the log has end operations; salt chooses the history.
func at(end uint64, salt byte) checkpoint.Checkpoint {
	return checkpoint.Checkpoint{
		Origin: origin, Target: wire.Target{Root: mmr.Digest{byte(end), salt, 1}, End: end},
		Codec: operation.NewCodec(operation.Any, operation.Fixed), Time: noon,
	}
}

func sign(t testing.TB, c checkpoint.Checkpoint, keys ...key) []byte {
	t.Helper()
	var signers []checkpoint.Signer
	for _, k := range keys {
		signers = append(signers, k)
	}
	note, err := checkpoint.Sign(c, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return note
}

// shelf is a server of one note, with an entity tag, as ours has it.
type shelf struct {
	*httptest.Server
	asked, unchanged atomic.Int64

	mu      sync.Mutex
	note    []byte
	handler http.HandlerFunc // in the place of the note
}

func newShelf(t testing.TB, note []byte) *shelf {
	s := &shelf{note: note}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		s.mu.Lock()
		note, handler := s.note, s.handler
		s.mu.Unlock()
		if handler != nil {
			handler(w, r)
			return
		}
		tag := mmr.HashLeaf(0, note).String()
		w.Header().Set("ETag", `"`+tag+`"`)
		if r.Header.Get("If-None-Match") == `"`+tag+`"` {
			s.unchanged.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write(note)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *shelf) put(note []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note, s.handler = note, nil
}

func (s *shelf) answer(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler = h
}

// memory is the storage, which a test reads as the next process would.
type memory struct {
	mu   sync.Mutex
	note []byte
	err  error
	kept int
}

func (m *memory) ReadCheckpoint() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.note, nil
}

func (m *memory) KeepCheckpoint(note []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.note, m.kept = note, m.kept+1
	}
	return m.err
}

func (m *memory) CheckpointPath() string { return "db/CHECKPOINT" }

// pool is servers that push what the test says, and whose word is a lie.
type pool struct{ push chan source.Target }

func (*pool) Name() string                  { return "servers" }
func (*pool) Report(string, source.Verdict) {}
func (*pool) Following() bool               { return true }
func (*pool) Target(context.Context) (source.Target, error) {
	return source.Target{}, errors.New("a server's word was asked for")
}

func (*pool) Operations(context.Context, source.Request) (*source.Answer, error) {
	return &source.Answer{Peer: "servers"}, nil
}

func (p *pool) Follow(ctx context.Context, fn func(source.Target)) {
	for {
		select {
		case t := <-p.push:
			fn(t)
		case <-ctx.Done():
			return
		}
	}
}

// follower is a Source under test and the clock it sees.
type follower struct {
	*targets.Source
	pool   *pool
	memory *memory
	now    time.Time
	o      targets.Options
}

func newFollower(t testing.TB, trust checkpoint.Trust, places ...string) *follower {
	t.Helper()
	if trust.Origin == "" {
		trust.Origin = origin
	}
	if trust.Quorum == 0 {
		trust.Quorum = 1
	}
	f := &follower{pool: &pool{push: make(chan source.Target)}, memory: new(memory), now: noon}
	f.o = targets.Options{Places: places, Trust: trust, Timeout: 10 * time.Second, Now: func() time.Time { return f.now }}
	f.restart(t)
	return f
}

// restart begins anew with what is remembered.
func (f *follower) restart(t testing.TB) {
	t.Helper()
	if f.Source != nil {
		f.Close()
	}
	s, err := targets.New(f.pool, f.memory, f.o)
	if err != nil {
		t.Fatal(err)
	}
	f.Source = s
	t.Cleanup(func() { s.Close() })
}

// want asks for the target and accepts it, as a syncer would.
func (f *follower) want(t testing.TB, c checkpoint.Checkpoint) {
	t.Helper()
	got, err := f.Target(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Target != c.Target || !got.Signed || got.Epoch != c.Epoch || got.Peer != origin {
		t.Fatalf("target %+v, want %+v", got, c)
	}
	if err := f.Accept(got); err != nil {
		t.Fatal(err)
	}
	f.Reached(got)
}

// refused asks for the target, which must fail with an error of that type that
// ends no replica.
func refused[E error](t testing.TB, f *follower) (as E) {
	t.Helper()
	got, err := f.Target(t.Context())
	if err == nil {
		t.Fatalf("target %+v", got)
	}
	if !errors.As(err, &as) {
		t.Fatalf("%T: %v, want %T", err, err, as)
	}
	if class := source.Classify(err); class != source.Slow {
		t.Errorf("%v is %v", err, class)
	}
	return as
}
