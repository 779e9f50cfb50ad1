package api

import (
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/proofsync/proofsync/internal/guard"
	"github.com/proofsync/proofsync/pkg/document"
)

// rates are what everybody, or one client, may ask for in a second.
type rates struct {
	requests, bytes *guard.Bucket // nil: no limit
}

func newRates(requests, bytes float64) *rates {
	return &rates{requests: guard.NewBucket(requests), bytes: guard.NewBucket(bytes)}
}

func (r *rates) unused(now time.Time) bool {
	return r.requests.Used(now) <= 0 && r.bytes.Used(now) <= 0
}

// take takes a request and the first byte of its answer, or says what there is
// none of and for how long.
func (r *rates) take(now time.Time) (what string, wait time.Duration) {
	if wait = r.bytes.Take(now, 1); wait > 0 {
		return "bytes", wait
	}
	return "rate", r.requests.Take(now, 1)
}

// sent takes the bytes of an answer, whether they are there or not: the next
// request is the one that is late.
func (r *rates) sent(n int) { r.bytes.Put(-float64(n)) }

// clientOf is whom a request is counted for. Peers without an address, as
// on a socket, are one client.
func (a *API) clientOf(r *http.Request) guard.Client {
	name := ""
	if a.o.Identity != nil {
		name = a.o.Identity(r)
	}
	var host netip.Prefix
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		host = guard.Host(at)
	}
	return guard.NewClient(name, host)
}

// rate refuses a request that comes too fast, and says in the header when to
// come back. Where bytes are limited, sent has to be told of those of the answer.
func (a *API) rate(h http.Header, r *http.Request) (sent func(n int), err error) {
	all, clients := a.admit.all, a.admit.clients
	if all == nil && clients == nil {
		return nil, nil
	}
	now := time.Now()
	var own *rates
	if clients != nil {
		own = clients.Of(a.clientOf(r))
		a.metrics.clients.Set(float64(clients.Len()))
		if what, wait := own.take(now); wait > 0 {
			return nil, a.tooMany(h, what+"_per_host", wait, "one client may have")
		}
	}
	if all != nil {
		if what, wait := all.take(now); wait > 0 {
			return nil, a.tooMany(h, what, wait, "all clients together may have")
		}
	}
	return func(n int) {
		if own != nil {
			own.sent(n)
		}
		if all != nil {
			all.sent(n)
		}
	}, nil
}

func (a *API) tooMany(h http.Header, limit string, wait time.Duration, whose string) error {
	a.admit.refused(limit)
	h.Set("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
	what := "requests"
	if limit == "bytes" || limit == "bytes_per_host" {
		what = "bytes of answers"
	}
	return document.NewProblem(document.CodeTooMany, "more %s a second than %s", what, whose)
}
