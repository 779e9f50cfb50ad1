package remote

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/proofsync/proofsync/internal/sleep"

	"github.com/proofsync/proofsync/pkg/document"
)

// DefaultIdle is the default of WatchOptions.Idle.
const DefaultIdle = time.Minute

// WatchOptions say what is watched.
type WatchOptions struct {
	// Changes asks for the keys that changed with every new root.
	Changes bool
	// From, with Changes, is the size of the state to begin after: what came
	// since is told first. 0 tells all keys. nil: begin with the present state.
	From *uint64
	// Prefix, with Changes, leaves out keys that do not begin like this; nil: none.
	Prefix []byte
	// Idle is how long nothing may arrive, not even the server's heartbeat,
	// before the connection is given up and made anew. 0: DefaultIdle.
	Idle time.Duration
	// OnRetry is called before the stream is resumed: why it ended, and how
	// long it will take until the next try. nil: nobody wants to know.
	OnRetry func(err error, after time.Duration)
}

// Event is what happened. Exactly one of Root and Changes is set.
type Event struct {
	Name string // document.EventRoot, EventReset or EventChanges
	// ID is that of the newest complete state, by which a stream can be
	// resumed; it is WatchOptions.From of another process.
	ID      string
	Root    *document.RootEvent    // a new state; of EventReset: read everything anew, what changed until then is not known
	Changes *document.ChangesEvent // keys that changed, ahead of the event of the root they belong to
}

// ErrIdle: nothing arrived for longer than WatchOptions.Idle.
var ErrIdle = errors.New("stream is silent")

// errEnded: the server closed the stream without a word.
var errEnded = errors.New("stream has ended")

// Watch iterates over new states as they are published, until the context ends,
// which is no error, or the caller breaks the loop.
//
// A stream that was established and breaks is resumed after the last state that
// arrived completely, for as long as it takes, with pauses that grow. Nothing is
// left out then, but changes of a state that had not arrived completely come
// again. A first connection that fails, and a refusal that time will not change,
// are the iteration's last element and its only error.
func (c *Client) Watch(ctx context.Context, o WatchOptions) iter.Seq2[*Event, error] {
	if o.Idle == 0 {
		o.Idle = DefaultIdle
	}
	if o.OnRetry == nil {
		o.OnRetry = func(error, time.Duration) {}
	}
	return func(yield func(*Event, error) bool) {
		p := c.parameters()
		p.flag("changes", o.Changes)
		if o.From != nil {
			p.Set("from", strconv.FormatUint(*o.From, 10))
		}
		p.bytes("prefix", o.Prefix)
		path, err := p.path("/v1/watch")
		if err != nil {
			yield(nil, err)
			return
		}
		w := watcher{client: c, path: path, options: o, yield: yield}
		if err := w.run(ctx); err != nil && ctx.Err() == nil {
			yield(nil, err)
		}
	}
}

// watcher is one Watch.
type watcher struct {
	client  *Client
	path    string
	options WatchOptions
	yield   func(*Event, error) bool

	last        string        // id of the newest complete state; empty: none yet
	established bool          // there was a stream
	failures    int           // in a row
	retry       time.Duration // what the server asked for
}

// errBreak: the caller wants no more.
var errBreak = errors.New("break")

func (w *watcher) run(ctx context.Context) error {
	for {
		err := w.stream(ctx)
		if errors.Is(err, errBreak) {
			return nil
		}
		if ctx.Err() != nil || !w.established || !passing(err) {
			return err
		}
		w.failures++
		b := w.client.pause
		b.first = max(b.first, min(w.retry, maxRetryAfter))
		b.most = max(b.first, b.most)
		pause := b.before(w.failures, err)
		w.options.OnRetry(err, pause)
		if sleep.For(ctx, pause) != nil {
			return nil //nolint:nilerr // who ends the watch has not failed
		}
	}
}

// stream is one connection. It never returns nil.
func (w *watcher) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := time.AfterFunc(w.options.Idle, func() { cancel(fmt.Errorf("%w for %s", ErrIdle, w.options.Idle)) })
	defer idle.Stop()
	req, err := w.client.request(ctx, http.MethodGet, w.path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/event-stream, "+document.ProblemType)
	req.Header.Set("Cache-Control", "no-store")
	if w.last != "" {
		req.Header.Set("Last-Event-ID", w.last)
	}
	resp, err := w.client.send(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "text/event-stream" {
		return fmt.Errorf("%s: %w: of type %.80q", w.client.name, ErrAnswer, kind)
	}
	w.established = true
	in := messages{r: bufio.NewReader(resp.Body), max: w.client.opts.MaxAnswer, beat: func() { idle.Reset(w.options.Idle) }}
	for {
		m, err := in.next()
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = cause
		}
		if errors.Is(err, io.EOF) {
			err = errEnded
		}
		if m.retry > 0 {
			w.retry = m.retry
		}
		if err != nil {
			return fmt.Errorf("%s: %w", w.client.name, err)
		}
		idle.Stop() // the caller may take its time
		if err := w.take(m); err != nil {
			return err
		}
		idle.Reset(w.options.Idle)
	}
}

// take hands an event on.
func (w *watcher) take(m message) error {
	e := &Event{Name: m.name}
	var into any
	switch m.name {
	case document.EventRoot, document.EventReset:
		e.Root = new(document.RootEvent)
		into = e.Root
	case document.EventChanges:
		e.Changes = new(document.ChangesEvent)
		into = e.Changes
	case document.EventEnd:
		p := new(document.Problem)
		if err := json.Unmarshal(m.data, p); err != nil {
			return fmt.Errorf("%s: %w: %w", w.client.name, ErrAnswer, err)
		}
		return p
	default:
		return nil // of a later version
	}
	if err := json.Unmarshal(m.data, into); err != nil {
		return fmt.Errorf("%s: %w: %w", w.client.name, ErrAnswer, err)
	}
	if e.Changes != nil {
		if err := w.client.checkForm(e.Changes.Bytes); err != nil {
			return err
		}
	}
	if m.hasID {
		w.last = m.id
	}
	e.ID, w.failures = w.last, 0
	if !w.yield(e, nil) {
		return errBreak
	}
	return nil
}
