package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// worker is what one connection measured.
type worker struct {
	took  []time.Duration
	count int // of what the rate is of
	err   error
}

// measure runs n connections for the time there is. step asks once and says
// how much it got.
func (s *settings) measure(n int, unit string, step func(w int) func(c *conn) (int, error)) (result, error) {
	workers := make([]worker, n)
	var ready, all sync.WaitGroup
	begin := make(chan struct{})
	var end time.Time
	for i := range workers {
		w := &workers[i]
		ready.Add(1)
		all.Go(func() {
			c, err := dial(s)
			ready.Done()
			if err != nil {
				w.err = err
				return
			}
			defer c.Close()
			<-begin
			next := step(i)
			for now := time.Now(); now.Before(end); {
				got, err := next(c)
				if err != nil {
					w.err = err
					return
				}
				done := time.Now()
				w.took, w.count, now = append(w.took, done.Sub(now)), w.count+got, done
			}
		})
	}
	ready.Wait()
	begun := time.Now()
	end = begun.Add(s.duration)
	close(begin)
	all.Wait()
	ran := time.Since(begun)
	var took []time.Duration
	var failed []error
	count := 0
	for i := range workers {
		took = append(took, workers[i].took...)
		count += workers[i].count
		if workers[i].err != nil {
			failed = append(failed, workers[i].err)
		}
	}
	r := summarize(took, failed)
	r.Unit, r.Rate = unit, float64(count)/ran.Seconds()
	return r, nil
}

// page is what is read of a listing.
type page struct {
	Keys []struct{ Key string }
	Next string
}

// someKeys are keys that there are.
func someKeys(s *settings) ([]string, error) {
	c, err := dial(s)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var keys []string
	for next := "/v1/keys?limit=10000"; next != "" && len(keys) < s.keys; {
		body, err := c.ask(s.get(next), nil)
		if err != nil {
			return nil, err
		}
		var p page
		if err := json.Unmarshal(body, &p); err != nil {
			return nil, err
		}
		for _, k := range p.Keys {
			keys = append(keys, k.Key)
		}
		next = p.Next
	}
	if len(keys) == 0 {
		return nil, errors.New("there are no keys to read")
	}
	return keys[:min(len(keys), s.keys)], nil
}

func readKeys(s *settings, query string) (result, error) {
	keys, err := someKeys(s)
	if err != nil {
		return result{}, err
	}
	requests := make([][]byte, len(keys))
	for i, k := range keys {
		requests[i] = s.get("/v1/keys/" + k + query)
	}
	return s.measure(s.conns, "requests", func(w int) func(c *conn) (int, error) {
		var buf []byte
		at := uint64(w+1) * 0x9e3779b97f4a7c15 // keys of all corners: neighbours share cache blocks
		return func(c *conn) (int, error) {
			at = at*6364136223846793005 + 1442695040888963407
			var err error
			buf, err = c.ask(requests[(at>>33)%uint64(len(requests))], buf)
			return 1, err
		}
	})
}

var (
	keyMember  = []byte(`"location":`)
	nextMember = []byte(`"next":"`)
)

// list reads whole listings in the largest pages.
func list(s *settings) (result, error) {
	const first = "/v1/keys?limit=10000"
	return s.measure(2, "keys", func(int) func(c *conn) (int, error) {
		var buf []byte
		next := first
		return func(c *conn) (int, error) {
			var err error
			if buf, err = c.ask(s.get(next), buf); err != nil {
				return 0, err
			}
			next = first
			if i := bytes.LastIndex(buf, nextMember); i >= 0 {
				var to string
				end := bytes.IndexByte(buf[i+len(nextMember):], '"')
				if err := json.Unmarshal(buf[i+len(nextMember)-1:i+len(nextMember)+end+1], &to); err != nil {
					return 0, err
				}
				next = to
			}
			return bytes.Count(buf, keyMember), nil
		}
	})
}

// oneKey is a batch that writes a new key.
func oneKey(n uint64) string {
	var key [32]byte
	copy(key[:], runID)
	for i := range 8 {
		key[31-i] = byte(n >> (8 * i))
	}
	text := base64.RawURLEncoding.EncodeToString(key[:])
	return `{"writes":[{"key":"` + text + `","value":"` + text + `"}]}`
}

// runID makes the keys of this run its own.
var runID = func() []byte {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return b
}()

func batch(s *settings) (result, error) {
	var n atomic.Uint64
	return s.measure(s.writers, "writes", func(int) func(c *conn) (int, error) {
		var request, buf []byte
		return func(c *conn) (int, error) {
			request = s.post(request[:0], oneKey(n.Add(1)))
			var err error
			buf, err = c.ask(request, buf)
			return 1, err
		}
	})
}

// seen is that a watcher learned of a state.
type seen struct {
	size string
	at   time.Time
}

// watch measures from the moment a batch is sent until a watcher has the event
// of its commit: the commit itself is part of it.
func watch(s *settings) (result, error) {
	streams := make([]*conn, s.watchers)
	for i := range streams {
		c, err := dial(s)
		if err != nil {
			return result{}, err
		}
		defer c.Close()
		if _, err := c.Write(s.get("/v1/watch")); err != nil {
			return result{}, err
		}
		if status, _, err := c.header(); err != nil || status != 200 {
			return result{}, fmt.Errorf("watcher %d: status %d, %w", i, status, err)
		}
		streams[i] = c
	}
	events := make([][]seen, len(streams))
	var all sync.WaitGroup
	for i, c := range streams {
		all.Go(func() { events[i] = follow(c) })
	}
	sent, err := commitSlowly(s)
	if err != nil {
		return result{}, err
	}
	time.Sleep(time.Second)
	for _, c := range streams {
		_ = c.SetReadDeadline(time.Now())
	}
	all.Wait()
	var took []time.Duration
	var failed []error
	for i, list := range events {
		got := 0
		for _, e := range list {
			if begun, ok := sent[e.size]; ok {
				took = append(took, e.at.Sub(begun))
				got++
			}
		}
		if got != len(sent) {
			failed = append(failed, fmt.Errorf("watcher %d saw %d of %d commits", i, got, len(sent)))
		}
	}
	r := summarize(took, failed)
	r.Unit, r.Rate = "events", float64(len(took))/s.duration.Seconds()
	return r, nil
}

// commitSlowly makes the commits that are watched, spread over the time there
// is, and returns when each was sent, by its size.
func commitSlowly(s *settings) (map[string]time.Time, error) {
	c, err := dial(s)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	sent := make(map[string]time.Time)
	for i := range s.commits {
		time.Sleep(s.duration / time.Duration(s.commits))
		begun := time.Now()
		body, err := c.ask(s.post(nil, oneKey(1<<40+uint64(i))), nil)
		if err != nil {
			return nil, err
		}
		var done struct{ Size json.Number }
		if err := json.Unmarshal(body, &done); err != nil {
			return nil, err
		}
		sent[done.Size.String()] = begun
	}
	return sent, nil
}

// follow reads a stream until its connection has a deadline.
func follow(c *conn) (events []seen) {
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return events
		}
		if id, ok := bytes.CutPrefix(line, []byte("id: ")); ok {
			size, _, _ := bytes.Cut(bytes.TrimSpace(id), []byte("-"))
			events = append(events, seen{string(size), time.Now()})
		}
	}
}
