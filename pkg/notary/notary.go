package notary

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/proofsync/proofsync/internal/sleep"

	"golang.org/x/sync/errgroup"

	"github.com/proofsync/proofsync/internal/guard"
	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/wire"
)

const (
	// DefaultMaxAge is how old a checkpoint may be for replicas, unless Options
	// say otherwise.
	DefaultMaxAge = time.Hour
	// minGap is the least distance of two signatures: signing takes some 50
	// microseconds of a core, and the writer may commit thousands of times a second.
	minGap = 2 * time.Millisecond
	// lookInterval is how often the signer is asked whether its keys have changed.
	lookInterval = time.Second
	// retryMin and retryMax bound the pause after a failure, which doubles.
	retryMin = time.Second
	retryMax = 30 * time.Second
	// sayAgain is the least time between two log lines of one kind of trouble.
	sayAgain = time.Minute
)

// Signer makes signed notes of checkpoints. It is used by one goroutine.
type Signer interface {
	// Sign returns a note of exactly the text of c, which the caller owns. Its
	// error is an *Error, or that of ctx.
	Sign(ctx context.Context, c checkpoint.Checkpoint) ([]byte, error)
	// Renewed says whether the next signature would be made with other keys than
	// the last one. It is asked about once a second.
	Renewed() bool
}

// Options configure a Notary.
type Options struct {
	DB     *database.DB
	Signer Signer
	// Origin names the log, see checkpoint.CheckOrigin.
	Origin string
	// Memory is what was signed before, also by earlier processes: nothing is signed
	// that contradicts it. nil: whatever the database shows is signed. Close closes
	// it.
	Memory *Memory
	// MaxAge is how old a checkpoint may be for replicas: what is newest is signed
	// again after a third of it. 0: DefaultMaxAge.
	MaxAge time.Duration
	// Witnesses are the addresses of those asked to cosign, http(s)://host:port.
	Witnesses []string
	// Client sends to witnesses; nil: one without anything special. It must not
	// follow redirects.
	Client  *http.Client
	Logger  *slog.Logger // nil: discard
	Metrics *Metrics     // nil: counted nowhere
}

// Notary signs the newest state of a database while Run runs.
type Notary struct {
	o    Options
	log  *guard.Log
	push *pushing

	mu      sync.Mutex
	newest  *issue // nil: nothing was signed yet
	by      []*issue
	changed chan struct{} // closed when newest is replaced
	added   chan struct{} // closed then, and when a witness has signed
}

// issue is one checkpoint with the signatures it has so far.
type issue struct {
	seq uint64 // from 1

	// Of Notary.mu.
	note    []byte // replaced, never changed
	parties int    // keys of the writer, and witnesses that have answered
}

// New makes a notary; Run does the work.
func New(o Options) (*Notary, error) {
	if err := checkpoint.CheckOrigin(o.Origin); err != nil {
		return nil, err
	}
	o.MaxAge = cmp.Or(o.MaxAge, DefaultMaxAge)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	n := &Notary{o: o, log: guard.NewLog(o.Logger, sayAgain), changed: make(chan struct{}), added: make(chan struct{})}
	push, err := newPushing(n)
	if err != nil {
		return nil, err
	}
	n.push = push
	return n, nil
}

// Note is the newest note that the given number of parties have signed: keys of
// the writer, and witnesses. Less than one counts as one. While commits come
// faster than witnesses answer, a note with their signatures is older than the
// newest one. nil: there is none. The caller must not change it.
func (n *Notary) Note(parties int) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := max(parties, 1) - 1
	if i >= len(n.by) {
		return nil
	}
	return n.by[i].note
}

// Changed returns a channel that is closed when Note may return another one. Ask for
// it before Note, or one is missed.
func (n *Notary) Changed() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.added
}

// Run signs, and sends to witnesses, until ctx ends. It returns nil.
func (n *Notary) Run(ctx context.Context) error {
	var g errgroup.Group
	g.Go(func() error { n.sign(ctx); return nil })
	g.Go(func() error { n.push.run(ctx); return nil })
	return g.Wait()
}

// Close gives the memory free. Run has ended, or was never called.
func (n *Notary) Close() error {
	if n.o.Memory == nil {
		return nil
	}
	return n.o.Memory.Close()
}

// statement is what a checkpoint says, but for the time.
type statement struct {
	target wire.Target
	epoch  uint64
}

// state is what there is to be signed. The range is the one that the sync
// server names: what a new replica has to have.
func (n *Notary) state() (statement, error) {
	v, err := n.o.DB.View()
	if err != nil {
		return statement{}, err
	}
	defer v.Close()
	return statement{
		wire.Target{Root: v.Root(), Start: max(v.Floor(), v.Start()), End: v.Size()},
		n.o.DB.Epoch(),
	}, nil
}

// sign signs whatever is newest whenever that is due.
func (n *Notary) sign(ctx context.Context) {
	var last statement
	var signed time.Time // zero: never
	failures := 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		changed := n.o.DB.Changed() // before the state, or one is missed
		now, err := n.state()
		pause := lookInterval
		switch {
		case errors.Is(err, database.ErrClosed):
			return
		case errors.Is(err, database.ErrEmpty):
		case err != nil:
			err = &Error{reasonDatabase, err}
		case now != last || time.Since(signed) >= n.o.MaxAge/3 || n.o.Signer.Renewed():
			begun := time.Now()
			if err = n.issue(ctx, now); err == nil {
				last, signed = now, time.Now()
				if sleep.For(ctx, max(minGap, time.Since(begun))) != nil {
					return
				}
			}
			pause = 0
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil && !errors.Is(err, database.ErrEmpty) {
			failures++
			pause = backoff(failures)
			n.failed(err, pause)
			if sleep.For(ctx, pause) != nil { // commits do not shorten it
				return
			}
			continue
		}
		failures = 0
		if pause == 0 {
			continue // what was committed meanwhile is not waited for
		}
		if !signed.IsZero() {
			pause = min(pause, max(time.Millisecond, time.Until(signed.Add(n.o.MaxAge/3))))
		}
		timer.Reset(pause)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}

// issue makes a checkpoint of s and lets it be seen.
func (n *Notary) issue(ctx context.Context, s statement) error {
	c := checkpoint.Checkpoint{
		Origin: n.o.Origin, Target: s.target, Codec: n.o.DB.Codec(), Epoch: s.epoch,
		Time: time.Now().UTC().Truncate(time.Second),
	}
	if n.o.Memory != nil {
		if err := n.o.Memory.allows(c, n.o.DB); err != nil {
			return err
		}
	}
	signed, err := n.o.Signer.Sign(ctx, c)
	if err != nil {
		return err
	}
	if n.o.Memory != nil {
		if err := n.o.Memory.keep(c, signed); err != nil {
			return err
		}
	}
	parties := signatures(signed)
	n.mu.Lock()
	next := &issue{seq: 1, note: signed, parties: parties}
	if n.newest != nil {
		next.seq = n.newest.seq + 1
	} else {
		n.o.Logger.Info("checkpoints are signed", "origin", c.Origin, "size", c.Target.End, "epoch", c.Epoch, "signatures", parties)
	}
	n.newest = next
	n.offer(next)
	close(n.changed)
	n.changed = make(chan struct{})
	n.mu.Unlock()
	n.o.Metrics.signed.Inc()
	n.o.Metrics.lastSigned.Set(float64(c.Time.Unix()))
	return nil
}

// offer lets Note return i wherever nothing newer has as many signatures. The
// mutex is held.
func (n *Notary) offer(i *issue) {
	for k := range i.parties {
		switch {
		case k == len(n.by):
			n.by = append(n.by, i)
		case n.by[k].seq <= i.seq:
			n.by[k] = i
		}
	}
	close(n.added)
	n.added = make(chan struct{})
	if i == n.newest {
		n.o.Metrics.noteBytes.Set(float64(len(i.note)))
		n.o.Metrics.signatures.Set(float64(i.parties))
	}
}

// maxAnswer is how many signatures a witness may add, during a rotation of its
// keys. They are not checked here, and a note has room for a hundred.
const maxAnswer = 4

// cosigned adds what a witness has answered to i.
func (n *Notary) cosigned(i *issue, answer []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	merged, err := checkpoint.Merge(i.note, answer)
	if err != nil {
		return err
	}
	if len(merged) == len(i.note) {
		return errors.New("the answer has no signature that was not there before")
	}
	if n := bytes.Count(merged[len(i.note):], []byte("\n")); n > maxAnswer {
		return fmt.Errorf("the answer adds %d signatures: at most %d expected", n, maxAnswer)
	}
	i.note = merged
	i.parties++
	n.offer(i)
	return nil
}

// failed says that a signature could not be made.
func (n *Notary) failed(err error, again time.Duration) {
	reason := reasonSigner
	if e, ok := errors.AsType[*Error](err); ok {
		reason = e.reason
	}
	n.o.Metrics.failures[reason].Inc()
	if reason == reasonFork || reason == reasonRollback {
		n.log.Error("checkpoint not signed: it contradicts what this key has signed before", "error", err, "again_in", again)
		return
	}
	n.log.Error("checkpoint not signed, the last one stays: replicas that trust signatures stop following when it is too old",
		"error", err, "again_in", again)
}

// backoff is the pause after that many failures in a row.
func backoff(failures int) time.Duration {
	return min(retryMax, retryMin<<min(failures-1, 10))
}
