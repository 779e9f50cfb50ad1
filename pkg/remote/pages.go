package remote

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// follow says whether the page at the path this may be followed by that at the
// path next: by one of the same listing, as a token must not be sent elsewhere,
// that begins further on. Nobody who answers can lead in a circle.
type follow func(this, next string) bool

// rising is follow for a parameter that is a number and grows.
func rising(kind, parameter string) follow {
	return func(this, next string) bool {
		to, ok := number(next, kind, parameter)
		from, had := number(this, kind, parameter)
		return ok && (!had || to > from)
	}
}

// falling is follow for a parameter that is a number and shrinks.
func falling(kind, parameter string) follow {
	return func(this, next string) bool {
		to, ok := number(next, kind, parameter)
		from, had := number(this, kind, parameter)
		return ok && (!had || to < from)
	}
}

// ascending is follow for a parameter that is a byte string and grows.
func (c *Client) ascending(kind, parameter string) follow {
	return func(this, next string) bool {
		text, ok := position(next, kind, parameter)
		if !ok {
			return false
		}
		to, err := c.Decode(text)
		if err != nil {
			return false
		}
		// The first page need not say where it begins; what it says is of our making.
		text, had := position(this, kind, parameter)
		if !had {
			return true
		}
		from, err := c.Decode(text)
		return err == nil && bytes.Compare(to, from) > 0
	}
}

// page is one of a listing.
type page[T any] struct {
	all  []T
	next string // path of the next one; empty: there is none
	err  error
}

// pages iterates over the elements of pages that name the next one. Whoever wants a
// second page probably wants all: from then on, the next one is fetched and
// decoded while one is worked on. So there are two in memory, and a listing that is
// left early has asked for one page in vain.
func pages[T any](ctx context.Context, path string, err error, follows follow, read func(ctx context.Context, path string) ([]T, string, error)) iter.Seq2[*T, error] {
	fetch := func(ctx context.Context, path string) (p page[T]) {
		p.all, p.next, p.err = read(ctx, path)
		if p.err == nil && p.next != "" && !follows(path, p.next) {
			p.err = fmt.Errorf("%w: %.80q is no next page", ErrAnswer, p.next)
		}
		return p
	}
	return func(yield func(*T, error) bool) {
		if err != nil {
			yield(nil, err)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		var fetching sync.WaitGroup
		defer fetching.Wait()
		defer cancel()
		ahead := make(chan page[T], 1)
		for p, first := fetch(ctx, path), true; ; first = false {
			if p.err != nil {
				yield(nil, p.err)
				return
			}
			next := p.next
			if !first && next != "" {
				fetching.Go(func() { ahead <- fetch(ctx, next) })
			}
			for i := range p.all {
				if !yield(&p.all[i], nil) {
					return
				}
			}
			switch {
			case next == "":
				return
			case first:
				p = fetch(ctx, next)
			default:
				p = <-ahead
			}
		}
	}
}

// position is the value of a parameter of a path below the API, which has to be
// there once.
func position(path, kind, parameter string) (string, bool) {
	query, ok := strings.CutPrefix(path, kind+"?")
	if !ok {
		return "", false
	}
	values, err := url.ParseQuery(query)
	if err != nil || len(values[parameter]) != 1 {
		return "", false
	}
	return values.Get(parameter), true
}

// number is a position that is one.
func number(path, kind, parameter string) (uint64, bool) {
	text, ok := position(path, kind, parameter)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 64)
	return n, err == nil
}
