package api

import (
	"cmp"
	"context"
	"time"

	"github.com/proofsync/proofsync/internal/guard"
	"github.com/proofsync/proofsync/pkg/document"
)

// Limits bound what clients can use up. Zero fields are the defaults.
type Limits struct {
	// Requests answered at once, watchers not counted; 0: 256. The next ones
	// wait for Wait (0: 250 ms) and are then refused.
	Requests int
	Wait     time.Duration
	// Writes are the requests that write at once, which have places of their
	// own: where commits take long they wait for each other, and nobody who
	// reads waits for them; 0: as many as Requests.
	Writes int
	// Pages are the listings answered at once, which are most of the memory:
	// about 12 MiB each at worst, usually a few hundred kilobytes; 0: 32.
	Pages int
	// Streams are the watchers at once; 0: 4096, negative: none are allowed.
	Streams int
	// Rate is the number of requests a second of everybody together, and
	// RatePerHost that of one client: who proved an identity, else one IPv4
	// address or IPv6 /64 network; 0: no limit. A second's worth may come at once.
	Rate, RatePerHost float64
	// Bytes are those of answers in a second, counted as they are sent, for
	// everybody together, and BytesPerHost for one client; 0: no limit. An answer
	// that was begun is never cut short: the next requests are refused instead.
	Bytes, BytesPerHost float64
	// BodyBytes is the largest batch in one JSON document; 0: 16 MiB.
	BodyBytes int64
	// URLBytes is the longest path and query; 0: MaxURL. The http.Server has
	// to take headers that are larger than this, or it answers in its own way.
	URLBytes int
	// RequestTime is the time a request may take to arrive and to be answered,
	// streams not counted; 0: 30 s. A batch has it once more to be committed.
	RequestTime time.Duration
	// Heartbeat is the time between comments on a stream that has nothing
	// to say; 0: 15 s, since proxies commonly give up after 30 or 60.
	Heartbeat time.Duration
}

// MaxURL is the longest URL in bytes by default: a key of the largest size has
// room in every form, though not with every byte percent-encoded.
const MaxURL = 144 << 10

func (l Limits) withDefaults() Limits {
	l.Requests = cmp.Or(l.Requests, 256)
	l.Wait = cmp.Or(l.Wait, 250*time.Millisecond)
	l.Writes = cmp.Or(l.Writes, l.Requests)
	l.Pages = cmp.Or(l.Pages, 32)
	l.Streams = max(0, cmp.Or(l.Streams, 4096))
	l.BodyBytes = cmp.Or(l.BodyBytes, 16<<20)
	l.URLBytes = cmp.Or(l.URLBytes, MaxURL)
	l.RequestTime = cmp.Or(l.RequestTime, 30*time.Second)
	l.Heartbeat = cmp.Or(l.Heartbeat, 15*time.Second)
	return l
}

// admission decides which requests are answered.
type admission struct {
	wait     time.Duration
	requests chan struct{} // a place each
	writes   chan struct{}
	pages    chan struct{}
	streams  chan struct{}
	all      *rates                // nil: no limits
	clients  *guard.Clients[rates] // nil: no limits
	refused  func(limit string)
}

func newAdmission(l Limits, m *Metrics) admission {
	a := admission{
		wait: l.Wait, requests: make(chan struct{}, l.Requests),
		writes: make(chan struct{}, l.Writes), pages: make(chan struct{}, l.Pages),
		streams: make(chan struct{}, l.Streams), refused: m.refuse,
	}
	if l.Rate > 0 || l.Bytes > 0 {
		a.all = newRates(l.Rate, l.Bytes)
	}
	if l.RatePerHost > 0 || l.BytesPerHost > 0 {
		a.clients = guard.NewClients(guard.MaxClients, func() *rates { return newRates(l.RatePerHost, l.BytesPerHost) }, (*rates).unused)
	}
	return a
}

// seat is one of the places that requests of a kind have at once. The zero seat is
// of none.
type seat struct{ among chan struct{} }

// release gives the place back. It is to be called once.
func (s seat) release() {
	if s.among != nil {
		<-s.among
	}
}

// request waits a moment for a place.
func (a *admission) request(ctx context.Context) (seat, error) {
	return a.enter(ctx, a.requests, "requests", "too many requests are being answered")
}

// write waits a moment for a place among those that write.
func (a *admission) write(ctx context.Context) (seat, error) {
	return a.enter(ctx, a.writes, "writes", "too many batches are being taken")
}

// page waits a moment for a place among those that need much memory.
func (a *admission) page(ctx context.Context) (seat, error) {
	return a.enter(ctx, a.pages, "pages", "too many listings are being answered")
}

func (a *admission) enter(ctx context.Context, places chan struct{}, name, why string) (seat, error) {
	select {
	case places <- struct{}{}:
		return seat{places}, nil
	default:
	}
	timer := time.NewTimer(a.wait)
	defer timer.Stop()
	select {
	case places <- struct{}{}:
		return seat{places}, nil
	case <-ctx.Done():
	case <-timer.C:
	}
	a.refused(name)
	return seat{}, document.NewProblem(document.CodeUnavailable, "%s", why)
}

// stream has a place at once or not at all: places do not become free soon.
func (a *admission) stream() (seat, error) {
	select {
	case a.streams <- struct{}{}:
		return seat{a.streams}, nil
	default:
		a.refused("streams")
		return seat{}, document.NewProblem(document.CodeUnavailable, "%d watchers are connected, which is as many as may be", cap(a.streams))
	}
}
