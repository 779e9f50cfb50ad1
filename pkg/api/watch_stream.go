package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/mmr"
)

const (
	// stepOperations is about how much of the log a stream that is behind goes
	// through before it looks at the newest state again and says how far it came.
	stepOperations = 16 << 10
	// stepScan bounds the search for the commit that ends a step.
	stepScan = 1 << 20
	// minPace is what a client has to read, in bytes a second, while there is
	// something for it to read.
	minPace = 64 << 10
	// retryMillis is when a browser connects again.
	retryMillis = 2000
	// writeAtOnce is the part of a large event that has one deadline.
	writeAtOnce = 256 << 10
)

// stream is one answer to GET /v1/watch.
type stream struct {
	hub *watchHub
	w   http.ResponseWriter
	c   *http.ResponseController

	changes bool
	form    document.Bytes
	prefix  string
	resume  *eventID // of Last-Event-ID; nil: there was none, or it is dealt with

	at     place
	placed bool // at is a state the client knows

	// Since the stream was in step last:
	sent    int
	blocked time.Duration // in writes
}

var (
	errSlow     = errors.New("client reads too slowly")
	errGone     = errors.New("client is gone")
	errStopping = errors.New("the process is ending")
)

// run sends events until there is a reason not to.
func (s *stream) run(r *http.Request) ending {
	err := s.write(append(strconv.AppendInt([]byte("retry: "), retryMillis, 10), "\n\n"...), true)
	if err == nil {
		err = s.follow(r)
	}
	var end ending
	var p *document.Problem
	switch {
	case errors.Is(err, errGone):
		return endedByClient
	case errors.Is(err, os.ErrDeadlineExceeded):
		return endedSlow // in the middle of an event: there is no way to say so
	case errors.Is(err, errSlow):
		end = endedSlow
		p = document.NewProblem(document.CodeUnavailable, "events were not read as fast as %d bytes a second", s.hub.pace)
	case errors.Is(err, errStopping):
		end = endedStopping
		p = document.NewProblem(document.CodeUnavailable, "the process is ending")
	default:
		end = endedByProblem
		p = brief(s.hub.a.problemOf(err, nil))
	}
	if data, err := json.Marshal(p); err == nil {
		// As far as the client still reads.
		_ = s.event(document.EventEnd, appendEvent(nil, nil, document.EventEnd, data), true)
	}
	return end
}

func (s *stream) follow(r *http.Request) error {
	db, ctx := s.hub.a.db, r.Context()
	beat := time.NewTimer(s.hub.heartbeat)
	defer beat.Stop()
	for {
		changed := db.Changed()
		inStep := true
		v, err := db.View()
		switch {
		case errors.Is(err, database.ErrEmpty): // a replica before its first sync: a state will come
		case errors.Is(err, database.ErrClosed):
			return errStopping
		case err != nil:
			return err
		default:
			before := s.at
			inStep, err = s.advance(r, v)
			v.Close()
			if err != nil {
				return s.why(ctx.Err(), err)
			}
			if s.at != before {
				beat.Reset(s.hub.heartbeat)
			}
		}
		if !inStep {
			if s.hub.a.stopping.Err() != nil {
				return errStopping
			}
			continue
		}
		s.sent, s.blocked = 0, 0
		select {
		case <-changed:
		case <-beat.C:
			if err := s.write(heartbeat, true); err != nil {
				return s.why(ctx.Err(), err)
			}
			beat.Reset(s.hub.heartbeat)
		case <-ctx.Done():
			return errGone
		case <-s.hub.a.stopping.Done():
			return errStopping
		}
	}
}

var heartbeat = []byte(": heartbeat\n\n")

// why tells a client that went from a failure. Missing a deadline cancels the
// request's context, too.
func (s *stream) why(gone, err error) error {
	if gone != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return errGone
	}
	return err
}

// advance sends what brings the client to v, or a step closer to it.
func (s *stream) advance(r *http.Request, v *database.View) (inStep bool, err error) {
	announce := !s.placed // a client that knows nothing is told the newest state
	if s.resume != nil {
		p, known, err := s.resume.place(v)
		if err != nil {
			return false, err
		}
		s.resume = nil
		if !known {
			return true, s.reset(v)
		}
		s.at, s.placed = p, true
	} else if announce {
		return true, s.root(v, true)
	}
	if s.at.size == v.Size() && s.at.root == v.Root() {
		s.at.gen = v.Generation()
		return true, nil
	}
	if s.at.gen != v.Generation() || s.at.size > v.Size() {
		// Another generation: does it go on from what the client knows?
		p, err := placeOf(v, s.at.size)
		if err := unlessUnknown(err); err != nil {
			return false, err
		}
		if err != nil || p.root != s.at.root {
			return true, s.reset(v)
		}
		s.at = p
	}
	if !s.changes {
		return true, s.root(v, true)
	}
	to, err := s.step(v)
	if err != nil {
		return false, err
	}
	defer to.Close()
	if err := s.sendChanges(r, to); err != nil {
		return false, err
	}
	inStep = to.Size() == v.Size()
	return inStep, s.root(to, inStep)
}

// step chooses the state to go to next: the newest, or a commit about
// stepOperations further. Streams that are behind meet at the same commits, so
// that they share what they read.
func (s *stream) step(v *database.View) (*database.View, error) {
	if v.Size()-s.at.size <= stepOperations {
		return v.At(v.Size())
	}
	to, err := v.NextCommit((s.at.size/stepOperations+1)*stepOperations-1, stepScan)
	switch {
	case errors.Is(err, database.ErrScanLimit), err == nil && to == 0: // one huge commit
		to = v.Size()
	case err != nil:
		return nil, err
	}
	return v.At(to)
}

// root sends the root event of a state, which the client then is at.
func (s *stream) root(v *database.View, newest bool) error {
	e, err := s.hub.rootEventOf(v, newest)
	if err != nil {
		return err
	}
	if err := s.event(document.EventRoot, e.event, true); err != nil {
		return err
	}
	s.at, s.placed = placeAt(v), true
	return nil
}

// reset tells the client that it knows nothing any more.
func (s *stream) reset(v *database.View) error {
	e, err := s.hub.rootEventOf(v, true)
	if err != nil {
		return err
	}
	if err := s.event(document.EventReset, appendEvent(nil, e.id, document.EventReset, e.data), true); err != nil {
		return err
	}
	s.at, s.placed = placeAt(v), true
	return nil
}

// appendEvent writes an event; data has no line breaks.
func appendEvent(dst, id []byte, name string, data []byte) []byte {
	if id != nil {
		dst = append(append(append(dst, "id: "...), id...), '\n')
	}
	dst = append(append(append(dst, "event: "...), name...), "\ndata: "...)
	return append(append(dst, data...), "\n\n"...)
}

// event sends an event of that name.
func (s *stream) event(name string, b []byte, flush bool) error {
	err := s.write(b, flush)
	if err == nil {
		s.hub.a.metrics.watch.events.WithLabelValues(name).Inc()
	}
	return err
}

// write sends bytes, at the latest with what is flushed next. A client that
// reads nothing for hub.wait, or less than hub.pace for longer than that, gets
// no more.
func (s *stream) write(b []byte, flush bool) error {
	for len(b) > 0 {
		n := min(len(b), writeAtOnce)
		began := time.Now()
		_ = s.c.SetWriteDeadline(began.Add(s.hub.wait)) // what cannot have deadlines is a test
		_, err := s.w.Write(b[:n])
		b = b[n:]
		if err == nil && flush && len(b) == 0 {
			err = s.c.Flush()
		}
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return err
			}
			return errGone
		}
		s.sent += n
		s.blocked += time.Since(began)
	}
	if s.blocked > s.hub.wait+time.Duration(s.sent)*time.Second/time.Duration(s.hub.pace) {
		return errSlow
	}
	return nil
}

// rootEvent is the event of a state, made once.
type rootEvent struct {
	root        mmr.Digest
	size, start uint64
	event       []byte
	id          []byte
	data        []byte
}

// rootEventOf is the event of v. newest says that v is the newest state, which
// is what most streams ask for.
func (h *watchHub) rootEventOf(v *database.View, newest bool) (*rootEvent, error) {
	if e := h.newest.Load(); e != nil && e.root == v.Root() && e.size == v.Size() && e.start == v.Start() {
		return e, nil
	}
	doc := document.RootEvent{Head: document.Head{Root: v.Root().String(), Size: v.Size(), Floor: v.Floor(), Start: v.Start()}}
	if newest && v.Root() != h.first {
		doc.Time = h.a.history.saw(v.Root())
	} else if t, ok := h.a.history.at(v.Root()); ok {
		doc.Time = t
	}
	data, err := json.Marshal(&doc)
	if err != nil {
		return nil, err
	}
	e := &rootEvent{root: v.Root(), size: v.Size(), start: v.Start(), data: data, id: appendEventID(nil, v.Size(), doc.Root)}
	e.event = appendEvent(nil, e.id, document.EventRoot, data)
	if newest {
		h.newest.Store(e)
	}
	return e, nil
}
