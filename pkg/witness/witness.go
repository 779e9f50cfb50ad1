package witness

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/proofsync/proofsync/internal/durable"
	"github.com/proofsync/proofsync/internal/guard"
	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/source"
)

const (
	// proofTime bounds how long a proof may take to come.
	proofTime = 8 * time.Second
	// maxEvidence is how many contradictions are kept on disk; the first ones
	// prove as much as any.
	maxEvidence = 16
	// sayAgain is the least time between two log lines of one kind of trouble.
	sayAgain = time.Minute
)

// ErrNoFirst: nobody said where a new witness begins.
var ErrNoFirst = errors.New("the witness has signed nothing yet, and nobody said what its first checkpoint has to continue")

// Options configure a Witness.
type Options struct {
	// Origin is the log that is witnessed, Keys are its writer's.
	Origin string
	Keys   []checkpoint.Key
	// Own are the public keys of the witness: what they have signed may be
	// believed when the state is read.
	Own []checkpoint.Key
	// Cosign adds the signature of the witness to a note.
	Cosign func(signed []byte) ([]byte, error)
	// State is its memory; the caller closes it afterwards.
	State *State
	// Source is asked for proofs.
	Source source.Source
	// First is a note that the first one to be signed has to continue, where the
	// state is empty; nil: with FirstUse whatever comes first is signed, without
	// it nothing is.
	First    []byte
	FirstUse bool
	// MaxAge is how old a note may be when it comes; 0: an hour.
	MaxAge  time.Duration
	Logger  *slog.Logger // nil: discard
	Metrics *Metrics     // nil: counted nowhere
}

// Witness signs checkpoints of one log. It is safe for concurrent use, and signs
// one after the other.
type Witness struct {
	o     Options
	notes *guard.Log

	turn chan struct{} // a token: whoever has it may use what follows
	last *checkpoint.Checkpoint

	mu   sync.Mutex
	note []byte // last one signed; nil: none
}

// New makes a witness that continues where its state ends. Errors: *StateError,
// or what is wrong with the options.
func New(o Options) (*Witness, error) {
	o.MaxAge = cmp.Or(o.MaxAge, time.Hour)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	w := &Witness{o: o, notes: guard.NewLog(o.Logger, sayAgain), turn: make(chan struct{}, 1), note: o.State.Data()}
	if err := w.trust(checkpoint.Checkpoint{}, o.Keys).Check(); err != nil {
		return nil, err
	}
	switch {
	case o.State.Data() != nil:
		c, err := w.remembered(o.State.Data(), slices.Concat(o.Keys, o.Own))
		if err != nil {
			return nil, &StateError{o.State.Path(), err}
		}
		w.last = c
	case o.First != nil:
		c, err := w.remembered(o.First, o.Keys)
		if err != nil {
			return nil, fmt.Errorf("first note: %w", err)
		}
		w.last = c
	case !o.FirstUse:
		return nil, ErrNoFirst
	}
	w.show()
	w.turn <- struct{}{}
	return w, nil
}

// remembered checks a note from a file, which may be of any age.
func (w *Witness) remembered(note []byte, keys []checkpoint.Key) (*checkpoint.Checkpoint, error) {
	c, err := checkpoint.Peek(note)
	if err != nil {
		return nil, err
	}
	t := w.trust(c, keys)
	t.MaxAge = 0
	if _, err := t.Verify(note, time.Now()); err != nil {
		return nil, err
	}
	return &c, nil
}

// trust is what is asked of a note that says c. How operations are written is
// the writer's to say, as long as it does not change.
func (w *Witness) trust(c checkpoint.Checkpoint, keys []checkpoint.Key) *checkpoint.Trust {
	return &checkpoint.Trust{Origin: w.o.Origin, Codec: c.Codec, Keys: keys, Quorum: 1, MaxAge: w.o.MaxAge}
}

// Note is the last note that was signed; nil: none. The caller must not change it.
func (w *Witness) Note() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.note
}

// Sign checks a note and returns it with the signature of the witness. What it
// refuses is a *RefusedError; other errors are of ctx.
func (w *Witness) Sign(ctx context.Context, note []byte) ([]byte, error) {
	begun := time.Now()
	signed, err := w.check(ctx, note)
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		w.o.Metrics.refused.WithLabelValues(string(refused.Code)).Inc()
		w.notes.Warn("checkpoint not cosigned: "+string(refused.Code), "error", refused)
	}
	if err != nil {
		return nil, err
	}
	w.o.Metrics.cosigned.Inc()
	w.o.Metrics.seconds.Observe(time.Since(begun).Seconds())
	return signed, nil
}

func (w *Witness) check(ctx context.Context, note []byte) ([]byte, error) {
	c, err := checkpoint.Peek(note)
	if err != nil {
		return nil, refuse(err)
	}
	s, err := w.trust(c, w.o.Keys).Verify(note, time.Now())
	if err != nil {
		return nil, refuse(err)
	}
	select {
	case <-w.turn:
		defer func() { w.turn <- struct{}{} }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := w.follows(ctx, s); err != nil {
		return nil, err
	}
	return w.sign(s)
}

// follows says whether a checkpoint may be signed after the last one.
func (w *Witness) follows(ctx context.Context, s *checkpoint.Signed) error {
	if w.last == nil {
		w.o.Logger.Warn("first checkpoint believed, as --first-use says", "size", s.Target.End, "root", s.Target.Root, "epoch", s.Epoch)
		return nil
	}
	err := s.Follows(*w.last)
	if fork, ok := errors.AsType[*checkpoint.ForkError](err); ok {
		w.keep(s.Note, s.Checkpoint, nil)
		return refuse(fork)
	}
	if err != nil {
		return refuse(err)
	}
	switch {
	case s.Epoch > w.last.Epoch:
		w.o.Logger.Error("the writer has declared a new epoch: what is signed from now on need not continue what was signed before",
			"epoch", s.Epoch, "size", s.Target.End, "root", s.Target.Root, "before_epoch", w.last.Epoch, "before_size", w.last.Target.End, "before_root", w.last.Target.Root)
		return nil
	case s.Codec != w.last.Codec:
		return refuse(&checkpoint.CodecError{Codec: s.Codec, Want: w.last.Codec})
	case s.Target.End == w.last.Target.End: // and under one root
		return nil
	}
	limit, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	err = Extends(limit, w.o.Source, *w.last, s.Checkpoint)
	if diverged, ok := errors.AsType[*DivergedError](err); ok {
		w.keep(s.Note, s.Checkpoint, &diverged.Proof)
		return refuse(diverged)
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case limit.Err() != nil:
		return refuse(&UnprovenError{fmt.Errorf("no proof within %s", proofTime)})
	}
	return refuse(err)
}

// sign signs what was found good. It is stored before anybody sees it.
func (w *Witness) sign(s *checkpoint.Signed) ([]byte, error) {
	signed, err := w.o.Cosign(s.Note)
	if err != nil {
		return nil, &RefusedError{codeStorage, fmt.Errorf("the key of the witness cannot be used: %w", err)}
	}
	again := w.last != nil && w.note != nil && s.Target == w.last.Target && s.Epoch == w.last.Epoch && !s.Time.After(w.last.Time)
	if again {
		return signed, nil // nothing that was not promised before
	}
	if err := w.o.State.Keep(signed); err != nil {
		return nil, &RefusedError{codeStorage, fmt.Errorf("the witness cannot store what it signs: %w", err)}
	}
	if w.last != nil && s.Epoch > w.last.Epoch {
		w.o.Metrics.epochs.Inc()
	}
	c := s.Checkpoint
	w.last = &c
	w.mu.Lock()
	w.note = signed
	w.mu.Unlock()
	w.show()
	return signed, nil
}

func (w *Witness) show() {
	if w.last == nil {
		return
	}
	w.o.Metrics.size.Set(float64(w.last.Target.End))
	w.o.Metrics.epoch.Set(float64(w.last.Epoch))
	w.o.Metrics.last.Set(float64(w.last.Time.Unix()))
}

// keep stores a contradiction beside the state, once: both notes, and what proves
// that they contradict each other where that is not plain from the two.
func (w *Witness) keep(note []byte, c checkpoint.Checkpoint, p *Proof) {
	before := w.note
	if before == nil {
		before = w.o.First
	}
	name := sha256.Sum256([]byte(c.Text()))
	base := fmt.Sprintf("%s.fork-%d-%x", w.o.State.Path(), c.Target.End, name[:8])
	kept, err := filepath.Glob(w.o.State.Path() + ".fork-*" + contradicting)
	if err == nil && slices.Contains(kept, base+contradicting) {
		return
	}
	if len(kept) >= maxEvidence {
		w.notes.Error("another checkpoint contradicts what was signed; enough of them are kept", "kept", len(kept))
		return
	}
	errs := []error{err, os.WriteFile(base+".signed.note", before, 0o600)}
	if p != nil {
		proof, err := json.MarshalIndent(p, "", "  ")
		errs = append(errs, err, os.WriteFile(base+".proof.json", proof, 0o600))
	}
	errs = append(errs, durable.Replace(nil, base+contradicting, note))
	w.o.Logger.Error("a checkpoint contradicts what was signed: its writer shows different histories, or its key is somebody else's too; proofsync checkpoint compare checks the evidence",
		"evidence", base+".*", "size", c.Target.End, "root", c.Target.Root, "errors", errors.Join(errs...))
}

// contradicting ends the name of a note that was kept as evidence.
const contradicting = ".contradicting.note"
