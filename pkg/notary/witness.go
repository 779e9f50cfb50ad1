package notary

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/proofsync/proofsync/internal/outbound"
	"github.com/proofsync/proofsync/internal/sleep"
	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/document"
)

const (
	// cosignPath is where witnesses take notes.
	cosignPath = "/v1/cosign"
	// witnessTime bounds a request to a witness.
	witnessTime = 10 * time.Second
	// roundTime is how long the next note waits for witnesses that have not
	// answered: as all of them are sent the same notes, those that are quick
	// sign the same ones.
	roundTime = 2 * time.Second
	// roundGap is the least distance of two notes sent to witnesses, each of
	// which waits for its disk.
	roundGap = 100 * time.Millisecond
	// maxCosignature is how much longer a note may come back, in bytes: one
	// signature, or several while a witness replaces its key.
	maxCosignature = 4 << 10
	// maxRetryAfter bounds the patience that a witness may ask for.
	maxRetryAfter = time.Minute
)

// pushing sends the newest note to every witness.
//
//	round: the newest issue ──► each witness that is free and due ──► merged into the issue
//
// A witness that is slow or refuses holds nobody up for longer than roundTime,
// and is left out of rounds until it is due again.
type pushing struct {
	n         *Notary
	client    *http.Client
	witnesses []*witness
}

// witness is one of those asked to cosign.
type witness struct {
	host string // label of metrics
	url  string

	// Of pushing.run's goroutine and, while busy, of the one that asks.
	mu       sync.Mutex
	busy     bool
	has      uint64 // seq of the issue it cosigned last
	failures int    // in a row
	due      time.Time
}

func newPushing(n *Notary) (*pushing, error) {
	p := &pushing{n: n, client: n.o.Client}
	if p.client == nil {
		p.client = outbound.NewClient(nil)
	}
	p.client = outbound.WithoutRedirects(p.client)
	for _, address := range n.o.Witnesses {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil {
			return nil, fmt.Errorf("witness %.200q: http(s)://host:port expected", address)
		}
		n.o.Metrics.cosigned.WithLabelValues(u.Host) // 0 is worth being seen, and a rate needs something to start from
		for _, reason := range []string{reasonUnreachable, reasonRefused, reasonUnusable} {
			n.o.Metrics.refused.WithLabelValues(u.Host, reason)
		}
		p.witnesses = append(p.witnesses, &witness{host: u.Host, url: strings.TrimRight(address, "/") + cosignPath})
	}
	return p, nil
}

// run sends until ctx ends, and joins what it has started.
func (p *pushing) run(ctx context.Context) {
	if len(p.witnesses) == 0 {
		return
	}
	defer p.client.CloseIdleConnections()
	var asking sync.WaitGroup
	defer asking.Wait()
	for {
		p.n.mu.Lock()
		i, changed := p.n.newest, p.n.changed
		p.n.mu.Unlock()
		again := time.Hour
		if i != nil {
			again = p.round(ctx, i, &asking)
			if sleep.For(ctx, roundGap) != nil {
				return
			}
		}
		t := time.NewTimer(again)
		select {
		case <-changed:
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// round sends an issue to those that do not have it and are due, waits for them
// for a while, and returns when the next one is due.
func (p *pushing) round(ctx context.Context, i *issue, asking *sync.WaitGroup) time.Duration {
	p.n.mu.Lock()
	signed := i.note
	p.n.mu.Unlock()
	var round sync.WaitGroup
	for _, w := range p.witnesses {
		if !w.take(i.seq) {
			continue
		}
		round.Add(1)
		asking.Go(func() {
			defer round.Done()
			p.send(ctx, w, i, signed)
		})
	}
	done := make(chan struct{})
	asking.Go(func() { round.Wait(); close(done) })
	t := time.NewTimer(roundTime)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
	again := time.Hour
	for _, w := range p.witnesses {
		again = min(again, w.again(i.seq))
	}
	return again
}

// take says whether the witness is to be sent an issue now, and makes it busy.
func (w *witness) take(seq uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy || w.has >= seq || time.Now().Before(w.due) {
		return false
	}
	w.busy = true
	return true
}

// again is when the witness is to be sent an issue that it was not sent, or
// did not sign.
func (w *witness) again(seq uint64) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.busy:
		return roundTime
	case w.has >= seq:
		return time.Hour
	}
	return max(time.Until(w.due), roundGap)
}

// send asks a witness to cosign an issue.
func (p *pushing) send(ctx context.Context, w *witness, i *issue, signed []byte) {
	begun := time.Now()
	answer, err := p.ask(ctx, w, signed)
	if err == nil {
		if err = p.n.cosigned(i, answer); err != nil {
			err = &witnessError{reasonUnusable, 0, err}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy = false
	if ctx.Err() != nil {
		return
	}
	m := p.n.o.Metrics
	if err == nil {
		m.cosigned.WithLabelValues(w.host).Inc()
		m.latency.WithLabelValues(w.host).Observe(time.Since(begun).Seconds())
		if w.failures > 0 {
			p.n.o.Logger.Info("witness cosigns again", "witness", w.host)
		}
		w.has, w.failures = i.seq, 0
		return
	}
	w.failures++
	pause := backoff(w.failures)
	reason := reasonUnreachable
	if e, ok := errors.AsType[*witnessError](err); ok {
		reason, pause = e.reason, max(pause, e.after)
	}
	w.due = time.Now().Add(pause)
	m.refused.WithLabelValues(w.host, reason).Inc()
	if w.failures == 1 || reason == reasonRefused {
		p.n.log.Warn("witness did not cosign", "witness", w.host, "reason", reason, "error", err, "again_in", pause)
	}
}

// Reasons for which a witness has not cosigned, as labels of a metric.
const (
	reasonUnreachable = "unreachable"
	reasonRefused     = "refused"
	reasonUnusable    = "invalid" // its answer
)

// witnessError says what a witness answered instead of a signature.
type witnessError struct {
	reason string // label of a metric
	after  time.Duration
	err    error
}

func (e *witnessError) Error() string { return e.err.Error() }
func (e *witnessError) Unwrap() error { return e.err }

// ask sends a note and returns the one that comes back.
func (p *pushing) ask(ctx context.Context, w *witness, signed []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, witnessTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(signed))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	most := len(signed) + maxCosignature
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(most)+1))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, refusal(resp, body)
	}
	if len(body) > min(most, checkpoint.MaxNote) {
		return nil, &witnessError{reasonUnusable, 0, fmt.Errorf("an answer of more than %d bytes", most)}
	}
	return body, nil
}

// refusal is an answer without a signature.
func refusal(resp *http.Response, body []byte) error {
	e := &witnessError{reason: reasonRefused, err: fmt.Errorf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))}
	var problem document.Problem
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if kind == document.ProblemType && json.Unmarshal(body, &problem) == nil && problem.Code != "" {
		e.err = fmt.Errorf("%.40q: %.500q", problem.Code, problem.Detail)
	}
	if seconds, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16); err == nil {
		e.after = min(maxRetryAfter, time.Duration(seconds)*time.Second)
	}
	return e
}
