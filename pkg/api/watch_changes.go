package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/mmr"
)

const (
	// eventChanges and eventBytes bound a changes event; one change may be larger.
	eventChanges = 256
	eventBytes   = 256 << 10
	// spanBytes is the largest span that is kept for others, and cachedBytes
	// bounds all of them.
	spanBytes   = 1 << 20
	cachedBytes = 32 << 20
)

// span names the changes between two states as one kind of client gets them.
type span struct {
	gen      uint64
	from, to uint64
	root     mmr.Digest // at to
	form     document.Bytes
	prefix   string
}

// sendChanges sends the changes from where the client is to the state to.
func (s *stream) sendChanges(r *http.Request, to *database.View) error {
	k := span{gen: to.Generation(), from: s.at.size, to: to.Size(), root: to.Root(), form: s.form, prefix: s.prefix}
	events, err := s.hub.spans.get(r.Context(), s.hub, k, to)
	if errors.Is(err, errLargeSpan) {
		return k.encode(to, func(event []byte) error { return s.event(document.EventChanges, event, false) })
	}
	if err != nil {
		return err
	}
	for _, e := range events {
		if err := s.event(document.EventChanges, e, false); err != nil {
			return err
		}
	}
	return nil
}

// encode reads the changes of a span and hands them to emit as events. The
// slice is emit's during the call only.
func (k *span) encode(to *database.View, emit func(event []byte) error) error {
	var buf []byte
	var n int
	begin := func() {
		buf = append(buf[:0], "event: "+document.EventChanges+"\ndata: "...)
		buf = appendOpening(buf, k.form)
		buf = appendNumber(buf, "from", k.from)
		buf = appendNumber(buf, "size", k.to)
		buf = append(buf, `,"changes":[`...)
		n = 0
	}
	end := func() error {
		buf = append(buf, "]}\n\n"...)
		err := emit(buf)
		begin()
		return err
	}
	begin()
	var failed error
	err := to.Changes(k.from, func(c database.Change) bool {
		if !strings.HasPrefix(string(c.Key), k.prefix) {
			return true
		}
		if n > 0 && (n == eventChanges || len(buf)+2*(len(c.Key)+len(c.Value)) > eventBytes) {
			if failed = end(); failed != nil {
				return false
			}
		}
		if n > 0 {
			buf = append(buf, ',')
		}
		n++
		buf, failed = appendChange(buf, k.form, c)
		return failed == nil
	})
	switch {
	case failed != nil:
		return failed
	case err != nil || n == 0:
		return err
	}
	return end()
}

// appendChange writes a document.Change.
func appendChange(dst []byte, f document.Bytes, c database.Change) ([]byte, error) {
	dst, err := appendBytes(append(dst, `{"key":`...), f, c.Key)
	if err != nil {
		return dst, err
	}
	if c.Deleted {
		dst = append(dst, `,"deleted":true`...)
	} else if dst, err = appendBytes(append(dst, `,"value":`...), f, c.Value); err != nil {
		return dst, err
	}
	dst = strconv.AppendUint(append(dst, `,"location":`...), c.Location, 10)
	return append(dst, '}'), nil
}

// spanCache keeps the events of spans: of many streams that follow, the first
// reads what is new and the others wait for it.
type spanCache struct {
	mu    sync.Mutex
	spans map[span]*spanEntry
	order []span // oldest first
	bytes int
}

type spanEntry struct {
	ready  chan struct{} // closed when the rest is set
	events [][]byte
	bytes  int
	err    error // errLargeSpan: everybody has to read it for himself
}

// errLargeSpan: the changes are more than is kept.
var errLargeSpan = errors.New("span is too large to be shared")

// entryBytes is about what an entry costs beside its events and prefix.
const entryBytes = 512

// longPrefix is the length in bytes from which a prefix is larger than the
// knowledge that nothing with it has changed, which then is not kept.
const longPrefix = 256

// cost is what an entry counts for in the cache. The prefix is the client's:
// it may be as long as a key.
func (e *spanEntry) cost(k span) int { return e.bytes + len(k.prefix) + entryBytes }

func newSpanCache() *spanCache { return &spanCache{spans: make(map[span]*spanEntry)} }

// get returns the events of a span, of which to is the later state.
func (c *spanCache) get(ctx context.Context, h *watchHub, k span, to *database.View) ([][]byte, error) {
	c.mu.Lock()
	e := c.spans[k]
	if e != nil {
		c.mu.Unlock()
		select {
		case <-e.ready:
			h.a.metrics.watch.shared.Inc()
			return e.events, e.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	e = &spanEntry{ready: make(chan struct{}), err: errUnfinished}
	c.spans[k] = e
	c.mu.Unlock()

	h.a.metrics.watch.made.Inc()
	defer func() { // also if reading panics: nobody may wait for ever
		close(e.ready)
		c.keep(k, e)
	}()
	e.err = k.encode(to, func(event []byte) error {
		if e.bytes += len(event); e.bytes > spanBytes {
			return errLargeSpan
		}
		e.events = append(e.events, append([]byte(nil), event...))
		return nil
	})
	if e.err != nil {
		e.events, e.bytes = nil, 0
	}
	return e.events, e.err
}

// errUnfinished: reading a span did not come to an end.
var errUnfinished = errors.New("changes could not be read")

// keep counts an entry that is ready, and drops old ones. Failures are not
// kept: the next stream tries again.
func (c *spanCache) keep(k span, e *spanEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	failed := e.err != nil && !errors.Is(e.err, errLargeSpan)
	empty := e.err == nil && len(e.events) == 0 && e.bytes == 0
	if failed || empty && len(k.prefix) >= longPrefix {
		delete(c.spans, k)
		return
	}
	c.order = append(c.order, k)
	c.bytes += e.cost(k)
	for c.bytes > cachedBytes {
		old := c.order[0]
		c.order[0] = span{} // its prefix would live as long as the array
		c.order = c.order[1:]
		c.bytes -= c.spans[old].cost(old)
		delete(c.spans, old)
	}
}
