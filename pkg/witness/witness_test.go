package witness

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
	"github.com/proofsync/proofsync/pkg/wire"
)

func TestAGrowingLogIsCosigned(t *testing.T) {
	s := newScene(t)
	for salt := range uint64(20) {
		s.signs(s.h.note())
		s.h.grow(10 + salt)
	}
	last := s.signs(s.h.note())
	if string(s.Note()) != string(last) {
		t.Error("the last note signed is not the one that is shown")
	}
	stored, err := os.ReadFile(s.path)
	if err != nil || string(stored) != string(last) {
		t.Errorf("stored %q, %v", stored, err)
	}
	if len(s.kept()) > 0 {
		t.Errorf("evidence of nothing: %q", s.kept())
	}
}

// The root hashes how many peaks are inactive, and no checkpoint says it.
func TestALogWithInactivePeaksIsCosigned(t *testing.T) {
	s := newScene(t)
	some := false
	for range 20 {
		s.h.grow(1) // the same keys again, so that the floor follows the end
		c := s.h.checkpoint()
		some = some || mmr.InactivePeaks(c.Target.End, c.Target.Start) > 0
		s.signs(s.h.note())
	}
	if !some {
		t.Error("there were no inactive peaks")
	}
}

func TestAWriterWithTwoHistoriesGetsOneOfThemSigned(t *testing.T) {
	s := newScene(t)
	other := newHistory(t, s.writer)
	s.signs(s.h.note())
	other.grow(99)
	s.h.grow(2)
	mine := s.h.note()
	s.signs(mine)
	// Of the same size.
	err := s.refuses(codeFork, other.note())
	if _, ok := errors.AsType[*checkpoint.ForkError](err); !ok {
		t.Errorf("got %v", err)
	}
	// Of a larger one, with a server that proves what is in it.
	other.grow(100)
	forked := newSceneLike(t, s, server(t, sourcetest.Honest(other.db)))
	theirs := other.note()
	err = forked.refuses(codeFork, theirs)
	diverged, ok := errors.AsType[*DivergedError](err)
	if !ok {
		t.Fatalf("got %v", err)
	}
	checkEvidence(t, forked, mine, theirs, diverged)
	if n := len(forked.kept()); n != 5 {
		t.Errorf("%d files of evidence: %q", n, forked.kept())
	}
	if !forked.log.has("a checkpoint contradicts what was signed") {
		t.Error("nothing in the log")
	}
	// Asking again changes nothing, and the writer's first history goes on.
	forked.refuses(codeFork, theirs)
	if n := len(forked.kept()); n != 5 {
		t.Errorf("%d files of evidence", n)
	}
	newSceneLike(t, s, server(t, sourcetest.Honest(s.h.db)))
	s.h.grow(3)
	s.signs(s.h.note())
}

// newSceneLike is the same witness, started again with another source of proofs.
func newSceneLike(t testing.TB, s *scene, src source.Source) *scene {
	t.Helper()
	s.options.Source = src
	s.start()
	return s
}

// checkEvidence wants the files to say to anybody what the witness found.
func checkEvidence(t *testing.T, s *scene, mine, theirs []byte, d *DivergedError) {
	t.Helper()
	var p Proof
	for _, path := range s.kept() {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasSuffix(path, ".proof.json"):
			if err := json.Unmarshal(data, &p); err != nil {
				t.Fatal(err)
			}
			contradicts, err := os.ReadFile(strings.TrimSuffix(path, ".proof.json") + contradicting)
			if err != nil || string(contradicts) != string(theirs) {
				t.Errorf("kept %q, %v", contradicts, err)
			}
			signed, err := os.ReadFile(strings.TrimSuffix(path, ".proof.json") + ".signed.note")
			if err != nil || !strings.HasPrefix(string(signed), strings.SplitAfter(string(mine), "\n\n")[0]) {
				t.Errorf("kept %q, %v", signed, err)
			}
		}
	}
	run, err := d.Later.Codec.NewRun(p.Operation)
	if err != nil {
		t.Fatal(err)
	}
	proof := mmr.Proof{Leaves: p.Leaves, InactivePeaks: p.Inactive, Digests: p.Digests}
	if err := proof.VerifyPins(mmr.HashSpan(p.Location, run), p.Pins, d.Later.Target.Root); err != nil {
		t.Errorf("what was kept proves nothing: %v", err)
	}
}

func TestWhatIsOlderIsNotSigned(t *testing.T) {
	s := newScene(t)
	old := s.h.note()
	s.h.grow(2)
	s.signs(s.h.note())
	s.refuses(codeRollback, old)
	if len(s.kept()) > 0 {
		t.Errorf("evidence of nothing: %q", s.kept())
	}
}

func TestOnlyTheWriterIsCosigned(t *testing.T) {
	s := newScene(t)
	stranger := newParty(t, "writer") // the name is no secret
	s.refuses(codeUntrusted, noteOf(t, s.h.checkpoint(), stranger))
	s.refuses(codeUntrusted, noteOf(t, s.h.checkpoint(), s.self)) // nor is its own word worth anything
	s.refuses(codeOrigin, s.h.note(func(c *checkpoint.Checkpoint) { c.Origin = "example.org/other" }))
	s.refuses(codeStale, s.h.note(func(c *checkpoint.Checkpoint) { c.Time = c.Time.Add(-2 * time.Hour) }))
	s.refuses(codeStale, s.h.note(func(c *checkpoint.Checkpoint) { c.Time = c.Time.Add(2 * time.Hour) }))
	s.refuses(codeMalformed, []byte("hello"))
	s.refuses(codeUntrusted, []byte(strings.Replace(string(s.h.note()), "\n\n", "\n\n\n", 1)))
	forged := s.h.note()
	forged[len(logName)+1] ^= 1 // another size under the same signature
	s.refuses(codeUntrusted, forged)
	if s.Note() != nil {
		t.Errorf("signed %q", s.Note())
	}
	// One who signs twice is one.
	twice, err := checkpoint.Merge(s.h.note(), noteOf(t, s.h.checkpoint(), s.writer))
	if err != nil {
		t.Fatal(err)
	}
	line := twice[strings.Index(string(twice), "\n\n")+2:]
	s.signs(append(twice, line...))
}

func TestAnotherEncodingIsAnotherLog(t *testing.T) {
	s := newScene(t)
	s.signs(s.h.note())
	s.h.grow(2)
	s.refuses(codeCodec, s.h.note(func(c *checkpoint.Checkpoint) { c.Codec = operation.NewCodec(operation.Any, operation.Variable) }))
}

func TestAServerThatLiesAboutPinsProvesNothing(t *testing.T) {
	s := newScene(t)
	s.signs(s.h.note())
	s.h.grow(2)
	for what, lie := range map[string]func(*wire.Operations){
		"another pin":       func(m *wire.Operations) { m.Pins[0][0] ^= 1 },
		"a pin too few":     func(m *wire.Operations) { m.Pins = m.Pins[1:] },
		"pins of elsewhere": func(m *wire.Operations) { m.Pins[0], m.Pins[1] = m.Pins[1], m.Pins[0] },
		"another digest":    func(m *wire.Operations) { m.Proof.Digests[0][5] ^= 4 },
	} {
		newSceneLike(t, s, server(t, func(c *sourcetest.Conn, m wire.Message) {
			answer := sourcetest.Answer(s.h.db, m)
			if ops, ok := answer.(*wire.Operations); ok {
				lie(ops)
			}
			c.Send(answer)
		}))
		s.refuses(codeUnproven, s.h.note())
		if len(s.kept()) > 0 {
			t.Fatalf("%s: a server that lies is no evidence against the writer: %q", what, s.kept())
		}
	}
	newSceneLike(t, s, server(t, sourcetest.Honest(s.h.db)))
	s.signs(s.h.note())
}

func TestOneHonestSourceIsEnough(t *testing.T) {
	s := newScene(t)
	s.signs(s.h.note())
	s.h.grow(2)
	var peers []source.Source
	for i := range 3 {
		srv := sourcetest.Start(t, func(c *sourcetest.Conn, m wire.Message) {
			answer := sourcetest.Answer(s.h.db, m)
			if ops, ok := answer.(*wire.Operations); ok && i < 2 {
				ops.Pins[0][0] ^= 1
			}
			c.Send(answer)
		})
		peers = append(peers, source.NewPeer(srv.Addr, source.PeerOptions{Codec: anyFixed}))
	}
	pool := source.NewPool(peers, source.PoolOptions{})
	t.Cleanup(func() { _ = pool.Close() })
	newSceneLike(t, s, pool)
	s.signs(s.h.note())
}

func TestAHigherEpochIsSignedAndSaidLoudly(t *testing.T) {
	s := newScene(t)
	s.h.grow(2)
	s.signs(s.h.note())
	restored := newHistory(t, s.writer) // shorter, and it goes on differently
	restored.grow(50)
	epoch := func(n uint64) func(*checkpoint.Checkpoint) { return func(c *checkpoint.Checkpoint) { c.Epoch = n } }
	s.refuses(codeFork, restored.note())
	s.signs(restored.note(epoch(1)))
	if !s.log.has("level=ERROR msg=\"the writer has declared a new epoch") {
		t.Error("not a word about the epoch")
	}
	s.refuses(codeRollback, s.h.note()) // there is no way back
	restored.grow(51)
	newSceneLike(t, s, server(t, sourcetest.Honest(restored.db)))
	s.signs(restored.note(epoch(1)))
}

func TestAWitnessRemembersAcrossRestarts(t *testing.T) {
	s := newScene(t)
	s.h.grow(2)
	s.signs(s.h.note())
	other := newHistory(t, s.writer)
	other.grow(99)
	s.options.FirstUse = false // which is for a new state only
	s.start()
	s.refuses(codeFork, other.note())
	s.h.grow(3)
	s.signs(s.h.note())
	if _, err := OpenState(s.path); !errors.Is(err, ErrLocked) {
		t.Errorf("a second process: %v", err)
	}
}

func TestAMemoryThatCannotBeReadEndsTheWitness(t *testing.T) {
	s := newScene(t)
	s.signs(s.h.note())
	good, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	for what, bad := range map[string][]byte{
		"empty": {}, "text": []byte("x\n"), "cut": good[:len(good)/2],
		"another size": append([]byte(logName+"\n9"), good[len(logName)+2:]...),
		"another log":  s.h.note(func(c *checkpoint.Checkpoint) { c.Origin = "example.org/other" }),
	} {
		if err := s.options.State.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if s.options.State, err = OpenState(s.path); err == nil {
			_, err = New(s.options)
		}
		if _, ok := errors.AsType[*StateError](err); !ok {
			t.Errorf("%s: %v", what, err)
		}
		if s.options.State != nil {
			s.options.State.Close()
		}
		if err := os.WriteFile(s.path, good, 0o600); err != nil {
			t.Fatal(err)
		}
		s.options.State, err = OpenState(s.path)
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatCannotBeStoredIsNotSigned(t *testing.T) {
	s := newScene(t)
	s.signs(s.h.note())
	before := string(s.Note())
	s.h.grow(2)
	if err := os.RemoveAll(filepath.Dir(s.path)); err != nil {
		t.Fatal(err)
	}
	s.refuses(codeStorage, s.h.note())
	if string(s.Note()) != before {
		t.Error("it shows what it could not store")
	}
	if err := os.Mkdir(filepath.Dir(s.path), 0o700); err != nil {
		t.Fatal(err)
	}
	s.signs(s.h.note())
}

func TestANewWitnessHasToBeToldWhereToBegin(t *testing.T) {
	s := newScene(t)
	first := s.h.note(func(c *checkpoint.Checkpoint) { c.Time = c.Time.Add(-48 * time.Hour) }) // of any age
	s.options.FirstUse = false
	if _, err := New(s.options); !errors.Is(err, ErrNoFirst) {
		t.Errorf("without a word: %v", err)
	}
	s.options.First = noteOf(t, s.h.checkpoint(), newParty(t, "writer"))
	if _, err := New(s.options); err == nil {
		t.Error("a first note of a stranger is taken")
	}
	s.options.First = first
	s.start()
	other := newHistory(t, s.writer)
	other.grow(99)
	other.grow(98)
	newSceneLike(t, s, server(t, sourcetest.Honest(other.db)))
	other2 := other.note()
	s.h.grow(2)
	// other begins with what first says; what comes then is its own.
	s.signs(other2)
}

func TestOneWhoWaitsForHisTurnCanGiveUp(t *testing.T) {
	s := newScene(t)
	<-s.turn // somebody signs
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Sign(ctx, s.h.note()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	s.turn <- struct{}{}
	s.signs(s.h.note())
}
