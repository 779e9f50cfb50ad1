package notary

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
)

const logName = "example.org/log"

var anyFixed = operation.NewCodec(operation.Any, operation.Fixed)

func TestMain(m *testing.M) {
	if mode := os.Getenv(commandMode); mode != "" {
		command(mode)
		return
	}
	goleak.VerifyTestMain(m)
}

// patience bounds every wait; only a failing test waits for it.
const patience = 20 * time.Second

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

// value is that of a counter or gauge.
func value(m prometheus.Metric) float64 {
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		return -1
	}
	return d.GetCounter().GetValue() + d.GetGauge().GetValue()
}

// pair is a key of a party.
type pair struct {
	private string
	public  checkpoint.Key
}

func newPair(t testing.TB, name string) pair {
	t.Helper()
	private, public, err := checkpoint.GenerateKey(name)
	if err != nil {
		t.Fatal(err)
	}
	key, err := checkpoint.ParseKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return pair{private, key}
}

func (p pair) cosign(t testing.TB, note []byte) []byte {
	t.Helper()
	signer, err := checkpoint.ParseSigner(p.private)
	if err != nil {
		t.Fatal(err)
	}
	out, err := checkpoint.Cosign(note, signer)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// fixture is a notary of a database that runs.
type fixture struct {
	*Notary
	t      *testing.T
	db     *database.DB
	writer pair
	path   string // of the key file
	log    lines
	m      *Metrics
}

func start(t *testing.T, change ...func(*fixture, *Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, db: sourcetest.Writer(t, anyFixed), writer: newPair(t, "writer"), path: filepath.Join(t.TempDir(), "key")}
	f.m = NewMetrics(prometheus.NewRegistry())
	f.write(f.writer.private)
	log := slog.New(slog.NewTextHandler(&f.log, nil))
	keys, err := OpenKeyFile(f.path, log, f.m)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{DB: f.db, Signer: keys, Origin: logName, Logger: log, Metrics: f.m}
	for _, c := range change {
		c(f, &o)
	}
	if f.Notary, err = New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *fixture) write(keys ...string) {
	f.t.Helper()
	next := f.path + ".next"
	if err := os.WriteFile(next, []byte("# keys\n\n"+strings.Join(keys, "\n")+"\n"), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(next, f.path); err != nil {
		f.t.Fatal(err)
	}
}

// verify checks the newest note of so many parties.
func (f *fixture) verify(parties int, keys ...checkpoint.Key) (*checkpoint.Signed, error) {
	trust := checkpoint.Trust{Origin: logName, Codec: anyFixed, Keys: keys, Quorum: len(keys), MaxAge: time.Minute}
	return trust.Verify(f.Note(parties), time.Now())
}

// signed waits until the newest state is signed by all the keys.
func (f *fixture) signed(keys ...checkpoint.Key) *checkpoint.Signed {
	f.t.Helper()
	v, err := f.db.View()
	if err != nil {
		f.t.Fatal(err)
	}
	defer v.Close()
	var s *checkpoint.Signed
	eventually(f.t, fmt.Sprintf("size %d signed by %d", v.Size(), len(keys)), func() bool {
		s, err = f.verify(len(keys), keys...)
		return err == nil && s.Target == sourcetest.Target(v)
	})
	return s
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

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestTheNewestCommitIsSigned(t *testing.T) {
	f := start(t)
	f.signed(f.writer.public)
	for salt := range uint64(5) {
		sourcetest.Commit(t, f.db, salt, 2, 3)
		if s := f.signed(f.writer.public); s.Epoch != 0 || s.Origin != logName || s.Target.Start == 0 && salt > 3 {
			t.Errorf("got %+v", s.Checkpoint)
		}
	}
	if f.Note(2) != nil {
		t.Error("a note of two parties, of which there is one")
	}
	if f.Note(0) == nil {
		t.Error("no party is no note")
	}
}

func TestABurstOfCommitsIsNotSignedOneByOne(t *testing.T) {
	f := start(t)
	sourcetest.Commit(t, f.db, 1, 300, 1)
	f.signed(f.writer.public)
	if n := value(f.m.signed); n > 250 {
		t.Errorf("%v signatures for 300 commits", n)
	}
}

func TestAnIdleWriterSignsAgain(t *testing.T) {
	f := start(t, func(_ *fixture, o *Options) { o.MaxAge = 60 * time.Millisecond })
	eventually(t, "five signatures of one commit", func() bool { return value(f.m.signed) >= 5 })
}

func TestKeysAreReplacedWithOverlap(t *testing.T) {
	f := start(t)
	f.signed(f.writer.public)
	next := newPair(t, "writer-next")
	f.write(f.writer.private, next.private)
	f.signed(f.writer.public, next.public) // without a commit
	f.write(next.private)
	eventually(t, "the old key signs no more", func() bool {
		_, err := f.verify(1, f.writer.public)
		return err != nil
	})
	f.signed(next.public)
	if strings.Contains(f.log.String(), "PRIVATE") {
		t.Error("a private key in the log")
	}
}

func TestAKeyFileThatCannotBeReadLeavesTheOldKeys(t *testing.T) {
	f := start(t)
	f.signed(f.writer.public)
	for what, damage := range map[string]func(){
		"gone":      func() { os.Remove(f.path) },
		"a folder":  func() { os.Remove(f.path); os.Mkdir(f.path, 0o700) },
		"empty":     func() { f.write() },
		"text":      func() { f.write("hello") },
		"public":    func() { f.write(f.writer.public.String()) },
		"twice":     func() { f.write(f.writer.private, f.writer.private) },
		"too large": func() { f.write(strings.Repeat("#\n", maxKeyFile)) },
	} {
		damage()
		sourcetest.Commit(t, f.db, 7, 1, 1)
		f.signed(f.writer.public)
		eventually(t, what+": said", func() bool { return value(f.m.keyFailing) == 1 })
		os.Remove(f.path)
		f.write(f.writer.private)
		sourcetest.Commit(t, f.db, 8, 1, 1)
		eventually(t, what+": repaired", func() bool { return value(f.m.keyFailing) == 0 })
	}
	if n := strings.Count(f.log.String(), "checkpoint keys not read, the old ones stay"); n != 7 {
		t.Errorf("said %d times:\n%s", n, f.log.String())
	}
}

// failing is a signer that fails as long as it is told to.
type failing struct {
	Signer
	err atomic.Pointer[error]
}

func (s *failing) Sign(ctx context.Context, c checkpoint.Checkpoint) ([]byte, error) {
	if err := s.err.Load(); err != nil {
		return nil, *err
	}
	return s.Signer.Sign(ctx, c)
}

func TestTheLastNoteStaysWhileSigningFails(t *testing.T) {
	var signer *failing
	f := start(t, func(_ *fixture, o *Options) {
		signer = &failing{Signer: o.Signer}
		o.Signer = signer
	})
	f.signed(f.writer.public)
	before := f.Note(1)
	broken := error(&Error{reasonTimeout, errors.New("no answer")})
	signer.err.Store(&broken)
	sourcetest.Commit(t, f.db, 1, 1, 1)
	eventually(t, "a failure is counted", func() bool { return value(f.m.failures[reasonTimeout]) > 0 })
	if !bytes.Equal(f.Note(1), before) {
		t.Error("the last note is gone")
	}
	eventually(t, "a word in the log", func() bool {
		return strings.Contains(f.log.String(), "checkpoint not signed, the last one stays")
	})
	signer.err.Store(nil)
	f.signed(f.writer.public)
}

// witnessOf answers like a witness that signs everything.
func witnessOf(t *testing.T, p pair, change func(note []byte) []byte) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		note, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.URL.Path != cosignPath {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		note = p.cosign(t, note)
		if change != nil {
			note = change(note)
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write(note)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestWitnessesAddTheirSignatures(t *testing.T) {
	a, b := newPair(t, "a"), newPair(t, "b")
	f := start(t, func(_ *fixture, o *Options) {
		o.Witnesses = []string{witnessOf(t, a, nil).URL, witnessOf(t, b, nil).URL + "/"}
	})
	f.signed(f.writer.public, a.public, b.public)
	sourcetest.Commit(t, f.db, 1, 1, 1)
	f.signed(f.writer.public, a.public, b.public)
	// Nobody waits for witnesses: the newest has the writer's at once.
	sourcetest.Commit(t, f.db, 2, 1, 1)
	f.signed(f.writer.public)
	if f.Note(3) == nil {
		t.Error("the note of three is gone with a newer one of one")
	}
}

// While commits come faster than witnesses answer, what all of them have signed
// is one and the same note.
func TestABusyWriterStillGetsAQuorum(t *testing.T) {
	a, b := newPair(t, "a"), newPair(t, "b")
	slowly := func(note []byte) []byte { time.Sleep(30 * time.Millisecond); return note }
	f := start(t, func(_ *fixture, o *Options) {
		o.Witnesses = []string{witnessOf(t, a, nil).URL, witnessOf(t, b, slowly).URL}
	})
	var last uint64
	newer := 0
	for salt := uint64(1); newer < 3; salt++ {
		if salt > 5000 {
			t.Fatalf("%d notes with all signatures", newer)
		}
		sourcetest.Commit(t, f.db, salt, 1, 1)
		time.Sleep(2 * time.Millisecond)
		if s, err := f.verify(3, f.writer.public, a.public, b.public); err == nil && s.Target.End > last {
			newer++
			last = s.Target.End
		}
	}
}

func TestAWitnessThatFailsHoldsNobodyUp(t *testing.T) {
	good, bad := newPair(t, "good"), newPair(t, "bad")
	release := make(chan struct{})
	stuck := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(stuck.Close)
	t.Cleanup(func() { close(release) })
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusConflict)
		fmt.Fprint(w, `{"code":"fork","detail":"contradicts"}`)
	}))
	t.Cleanup(refusing.Close)
	other := []byte("example.org/log\n1\n")
	f := start(t, func(_ *fixture, o *Options) {
		o.Witnesses = []string{
			stuck.URL, refusing.URL, "http://127.0.0.1:1",
			witnessOf(t, bad, func([]byte) []byte { return other }).URL,
			witnessOf(t, bad, func(note []byte) []byte { return append(note, bytes.Repeat([]byte("x"), checkpoint.MaxNote)...) }).URL,
			witnessOf(t, bad, func(note []byte) []byte { // of another checkpoint
				return bytes.Replace(note, []byte("epoch 0"), []byte("epoch 1"), 1)
			}).URL,
			witnessOf(t, good, nil).URL,
		}
	})
	f.signed(f.writer.public, good.public)
	eventually(t, "every kind of trouble is in the log", func() bool {
		all := make(chan prometheus.Metric, 100)
		f.m.refused.Collect(all)
		return len(all) >= 5 // the one that is stuck has time yet
	})
	if s, err := f.verify(1, bad.public); err == nil {
		t.Errorf("a signature of another checkpoint: %v", s)
	}
}

func TestOptionsThatCannotBeUsed(t *testing.T) {
	db := sourcetest.Writer(t, anyFixed)
	for _, o := range []Options{
		{DB: db, Origin: ""}, {DB: db, Origin: "two words"}, {DB: db, Origin: logName, Witnesses: []string{"ftp://a"}},
		{DB: db, Origin: logName, Witnesses: []string{"a:1"}}, {DB: db, Origin: logName, Witnesses: []string{"http://a/?b"}},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}
