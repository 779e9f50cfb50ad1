package guard

import (
	"net/netip"
	"sync"
	"time"
)

// A Client is whom a peer is counted as: the name its certificate proved, or
// its host where there is none. One program that connects from several addresses
// with one certificate is one client.
type Client struct {
	Name string       // "" where nothing was proved
	Host netip.Prefix // only where there is no name
}

// NewClient is the client of that name, or of that host without one.
func NewClient(name string, host netip.Prefix) Client {
	if name != "" {
		return Client{Name: name}
	}
	return Client{Host: host}
}

// String is for the log.
func (c Client) String() string {
	switch {
	case c.Name != "":
		return c.Name
	case c.Host.IsValid():
		return c.Host.String()
	}
	return "without an address"
}

// MaxClients is how many clients a table remembers.
const MaxClients = 16 << 10

// Clients remembers something of each client, of a bounded number of them: who
// has many addresses must not be able to use up the memory. A client is
// forgotten once nobody uses what is remembered of it and nothing would change
// if it were made anew. Those that find no place share one.
type Clients[V any] struct {
	most   int
	anew   func() *V
	unused func(v *V, now time.Time) bool

	mu     sync.Mutex
	known  map[Client]*entry[V]
	others *V
	swept  time.Time
}

type entry[V any] struct {
	v     *V
	users int
}

// NewClients makes an empty table of at most so many clients. anew makes what is
// remembered of one; unused says whether v is what anew would return now.
func NewClients[V any](most int, anew func() *V, unused func(v *V, now time.Time) bool) *Clients[V] {
	return &Clients[V]{most: most, anew: anew, unused: unused, known: make(map[Client]*entry[V]), others: anew()}
}

// Use returns what is remembered of a client, which is kept at least until done
// is called, once.
func (t *Clients[V]) Use(c Client) (v *V, done func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.find(c)
	if e == nil {
		return t.others, func() {}
	}
	e.users++
	return e.v, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		e.users--
	}
}

// Of returns what is remembered of a client, for use at once.
func (t *Clients[V]) Of(c Client) *V {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.find(c); e != nil {
		return e.v
	}
	return t.others
}

// Len is how many clients are remembered.
func (t *Clients[V]) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.known)
}

// find is nil where there is no place for a client.
func (t *Clients[V]) find(c Client) *entry[V] {
	e := t.known[c]
	if e == nil {
		if len(t.known) >= t.most {
			t.sweep(time.Now())
		}
		if len(t.known) >= t.most {
			return nil
		}
		e = &entry[V]{v: t.anew()}
		t.known[c] = e
	}
	return e
}

// sweepInterval is the shortest time between two sweeps, which look at all clients.
const sweepInterval = time.Second

// sweep forgets whom it can.
func (t *Clients[V]) sweep(now time.Time) {
	if now.Sub(t.swept) < sweepInterval {
		return
	}
	t.swept = now
	for c, e := range t.known {
		if e.users == 0 && t.unused(e.v, now) {
			delete(t.known, c)
		}
	}
}
