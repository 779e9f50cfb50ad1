package targets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/proofsync/proofsync/internal/outbound"
	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/source"
)

// Pool is the servers that operations are fetched from, such as a *source.Servers.
type Pool interface {
	source.Follower
	source.Reporter
}

// Memory keeps the newest accepted note where it outlives the process, as a
// database.DB does.
type Memory interface {
	// ReadCheckpoint returns what was kept last; nil: nothing ever was.
	ReadCheckpoint() ([]byte, error)
	// KeepCheckpoint is durable when it returns.
	KeepCheckpoint(note []byte) error
	// CheckpointPath names the place for people.
	CheckpointPath() string
}

// Options configure a Source.
type Options struct {
	// Places are URLs (http, https) and paths of notes, at least one.
	Places []string
	// Trust is whose statements are followed.
	Trust checkpoint.Trust
	// HTTP fetches from URLs; nil: a client of the Source's own. Redirects are not
	// followed in any case.
	HTTP *http.Client
	// Timeout is how long a place may take; 0: five seconds.
	Timeout time.Duration
	// Rate is how many times a second pushed targets may make the places be asked;
	// 0: 50.
	Rate float64
	// Now is the clock; nil: the system's.
	Now func() time.Time

	Logger  *slog.Logger // nil discards
	Metrics *Metrics     // nil counts for nobody
}

const (
	// grace is how long the other places may still take when one had a statement
	// that can be followed.
	grace = 250 * time.Millisecond
	// hintBurst is how many hints may come at once.
	hintBurst = 5
)

// Source is a source.Source whose targets are signed checkpoints. It is also a
// source.Follower, source.Reporter and source.Acceptor.
type Source struct {
	Pool   // operations, verdicts, and hints
	o      Options
	memory Memory
	places []place
	hints  *rate.Limiter

	fetching chan struct{} // has a token while nobody asks the places

	mu       sync.Mutex
	newest   *checkpoint.Signed // may be followed; nil: none is known
	accepted *checkpoint.Signed // as in memory, or signed anew since; nil: none
	reached  []byte             // note of the newest that is readable
	refusal  error              // why there was no target the last time; nil: there was
}

// New returns a Source in front of pool that remembers in memory what was accepted.
// It owns neither. The error is one of Trust.Check, about a place, or a
// *MemoryError.
func New(pool Pool, memory Memory, o Options) (*Source, error) {
	if o.HTTP == nil {
		o.HTTP = outbound.NewClient(nil)
	}
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Rate <= 0 {
		o.Rate = 50
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	s := &Source{Pool: pool, o: o, memory: memory, fetching: make(chan struct{}, 1)}
	s.fetching <- struct{}{}
	s.hints = rate.NewLimiter(rate.Limit(o.Rate), hintBurst)
	if err := s.o.Trust.Check(); err != nil {
		return nil, err
	}
	if len(o.Places) == 0 {
		return nil, errors.New("no place of checkpoints: at least one URL or path expected")
	}
	client := outbound.WithoutRedirects(o.HTTP)
	for _, name := range slices.Compact(slices.Sorted(slices.Values(o.Places))) {
		p, err := newPlace(name, client)
		if err != nil {
			return nil, err
		}
		s.places = append(s.places, p)
	}
	if err := s.remember(); err != nil {
		return nil, err
	}
	o.Metrics.asked.Store(s)
	return s, nil
}

// remember reads what was accepted by an earlier process.
func (s *Source) remember() error {
	note, err := s.memory.ReadCheckpoint()
	if err != nil {
		return &MemoryError{s.memory.CheckpointPath(), err}
	}
	if note == nil {
		return nil
	}
	// It was checked when it came. Keys may have been replaced since, and it may be
	// old: only what cannot have been written here is refused.
	signed, err := s.o.Trust.Verify(note, s.o.Now())
	few, tooFew := errors.AsType[*checkpoint.QuorumError](err)
	switch {
	case tooFew && few.Have == 0 && len(few.Invalid) > 0, is[*checkpoint.FormatError](err), is[*checkpoint.OriginError](err), is[*checkpoint.CodecError](err):
		return &MemoryError{s.memory.CheckpointPath(), err}
	case signed == nil:
		c, err := checkpoint.Peek(note)
		if err == nil && c.Origin != s.o.Trust.Origin {
			err = &checkpoint.OriginError{Origin: c.Origin, Want: s.o.Trust.Origin}
		}
		if err != nil {
			return &MemoryError{s.memory.CheckpointPath(), err}
		}
		signed = &checkpoint.Signed{Checkpoint: c, Note: note}
	}
	s.accepted, s.newest = signed, signed
	s.o.Logger.Info("remembers the newest accepted checkpoint", "origin", signed.Origin, "size", signed.Target.End,
		"root", signed.Target.Root, "epoch", signed.Epoch, "time", signed.Time)
	return nil
}

// Sources implements source.Group: however many servers there are, there is one
// who names targets.
func (s *Source) Sources() int { return 1 }

// Target asks all places and names the newest statement that may be followed. Its
// errors are *Error and *source.ContradictionError, or that of ctx.
func (s *Source) Target(ctx context.Context) (source.Target, error) { return s.target(ctx, 0) }

// target is Target, where places may wait for another note for so long.
func (s *Source) target(ctx context.Context, wait time.Duration) (source.Target, error) {
	select {
	case <-s.fetching:
	case <-ctx.Done():
		return source.Target{}, ctx.Err()
	}
	defer func() { s.fetching <- struct{}{} }()
	signed, err := s.ask(ctx, wait)
	if ctx.Err() != nil {
		return source.Target{}, ctx.Err()
	}
	s.mu.Lock()
	s.refusal = err
	if err == nil {
		s.newest = signed
	}
	s.mu.Unlock()
	if err != nil {
		s.o.Metrics.refused.WithLabelValues(reasonOf(err)).Inc()
		return source.Target{}, err
	}
	s.o.Metrics.size.Set(float64(signed.Target.End))
	s.o.Metrics.epoch.Set(float64(signed.Epoch))
	s.o.Metrics.signatures.Set(float64(len(signed.Signers)))
	return targetOf(signed), nil
}

// ask asks all places at once. When one has what can be followed, the others get a
// moment more: a place that hangs must not make all others late.
func (s *Source) ask(ctx context.Context, wait time.Duration) (*checkpoint.Signed, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	var asked sync.WaitGroup
	defer asked.Wait()
	defer cancel()
	answers := make(chan answer, len(s.places))
	for _, p := range s.places {
		asked.Go(func() {
			note, err := p.fetch(ctx, wait)
			answers <- answer{p.String(), note, err}
		})
	}
	s.mu.Lock()
	last := s.accepted
	s.mu.Unlock()
	var have []answer
	var late <-chan time.Time
	for len(have) < len(s.places) {
		select {
		case a := <-answers:
			result := resultNote
			if a.err != nil {
				result = resultUnreachable
			}
			s.o.Metrics.fetches.WithLabelValues(result).Inc()
			have = append(have, a)
		case <-late:
			s.o.Metrics.fetches.WithLabelValues(resultLate).Add(float64(len(s.places) - len(have)))
			return choose(&s.o.Trust, have, last, s.o.Now())
		}
		if late == nil && len(have) < len(s.places) {
			if _, err := choose(&s.o.Trust, have, last, s.o.Now()); err == nil {
				late = time.After(grace)
			}
		}
	}
	return choose(&s.o.Trust, have, last, s.o.Now())
}

// Accept implements source.Acceptor. What only was signed anew is not written.
func (s *Source) Accept(t source.Target) error {
	s.mu.Lock()
	last, signed := s.accepted, s.newest
	s.mu.Unlock()
	if t.Note == nil {
		return nil
	}
	if signed == nil || signed.Epoch != t.Epoch || signed.Target != t.Target {
		c, err := checkpoint.Peek(t.Note)
		if err != nil {
			return err // it was verified when it was named
		}
		signed = &checkpoint.Signed{Checkpoint: c, Note: t.Note}
	}
	if last != nil {
		if err := signed.Follows(last.Checkpoint); err != nil {
			return &Error{Place: t.Peer, Err: err}
		}
	}
	if last == nil || last.Epoch != signed.Epoch || last.Target != signed.Target {
		if err := s.memory.KeepCheckpoint(signed.Note); err != nil {
			return fmt.Errorf("remember the accepted checkpoint: %w", err)
		}
	}
	s.mu.Lock()
	s.accepted = signed
	s.mu.Unlock()
	return nil
}

// Reached implements source.Acceptor.
func (s *Source) Reached(t source.Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reached = t.Note; s.accepted != nil && s.accepted.Target == t.Target && s.accepted.Epoch == t.Epoch {
		s.reached = s.accepted.Note
	}
}

// Accepted implements source.Acceptor.
func (s *Source) Accepted() (source.Target, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.accepted == nil {
		return source.Target{}, false
	}
	return targetOf(s.accepted), true
}

// Note is the newest note whose root is readable here, if so many parties have
// signed it; nil if there is none. It must not be changed.
func (s *Source) Note(parties int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes.Count(s.reached[len(textOf(s.reached)):], []byte("\n\u2014 ")) < parties {
		return nil
	}
	return s.reached
}

// Close closes connections that wait for another question.
func (s *Source) Close() error {
	s.o.HTTP.CloseIdleConnections()
	return nil
}
