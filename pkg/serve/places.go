package serve

import (
	"cmp"
	"net/netip"
	"time"
)

// spareAfter is how long a connection has to be idle before a newcomer can
// take its place: long enough to get a first request through.
const spareAfter = time.Second

// spareSubscriberAfter is the same for a subscriber, from its last request on:
// it does no harm by being silent, but whoever holds places by subscribing must
// not keep others out for ever.
const spareSubscriberAfter = time.Minute

// A host is whom connections are counted for (guard.Host). The zero host is a
// peer without an IP address; nobody counts those.
type host = netip.Prefix

// places are the connections that are being served. They are the mutex of the
// server's to guard.
type places struct {
	max, maxPerHost int // 0: no limit per host
	sessions        map[*session]struct{}
	hosts           map[host]int // number of sessions
}

func newPlaces(most, perHost int) places {
	return places{max: most, maxPerHost: perHost, sessions: make(map[*session]struct{}), hosts: make(map[host]int)}
}

// room makes room for a newcomer of that host, or tells that there is none. At
// a limit it is the place of another, idle, which the caller has to cut off.
func (p *places) room(h host) (full bool, idle *session) {
	crowded := p.maxPerHost > 0 && h.IsValid() && p.hosts[h] >= p.maxPerHost
	if !crowded && len(p.sessions) < p.max {
		return false, nil
	}
	if idle = p.spare(h, crowded); idle == nil {
		return true, nil
	}
	p.remove(idle)
	return false, idle
}

func (p *places) add(c *session) {
	p.sessions[c] = struct{}{}
	p.hosts[c.host]++
}

// remove takes the place of c back, if it still has it.
func (p *places) remove(c *session) {
	if _, ok := p.sessions[c]; !ok {
		return
	}
	delete(p.sessions, c)
	if p.hosts[c.host]--; p.hosts[c.host] == 0 {
		delete(p.hosts, c.host)
	}
}

// spare is the session whose place a newcomer of that host can have: of the
// host with the most connections the one that has been idle longest,
// subscribers last. Hosts with no more connections than the newcomer's own give
// nothing, or a host could push out others by the number of its connections.
func (p *places) spare(newcomer host, ownOnly bool) *session {
	now := time.Now()
	var best *session
	var bestSince time.Time
	var bestSubscribed int
	for c := range p.sessions {
		own := c.host == newcomer
		if !own && (ownOnly || p.hosts[c.host] <= p.hosts[newcomer]) {
			continue
		}
		since := c.lastActive() // now, if it has a request in work
		subscribed, after := 0, spareAfter
		if c.subscribed.Load() {
			subscribed, after = 1, spareSubscriberAfter
		}
		if now.Sub(since) < after {
			continue
		}
		if best != nil && cmp.Or(bestSubscribed-subscribed, p.hosts[c.host]-p.hosts[best.host], bestSince.Compare(since)) <= 0 {
			continue
		}
		best, bestSince, bestSubscribed = c, since, subscribed
	}
	return best
}
