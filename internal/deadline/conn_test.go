package deadline

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// counting counts what is really set.
type counting struct {
	net.Conn
	reads, writes atomic.Int64
}

func (c *counting) SetReadDeadline(t time.Time) error {
	c.reads.Add(1)
	return c.Conn.SetReadDeadline(t)
}

func (c *counting) SetWriteDeadline(t time.Time) error {
	c.writes.Add(1)
	return c.Conn.SetWriteDeadline(t)
}

// pair is a Conn over TCP, and the other end of it.
func pair(t *testing.T) (*Conn, *counting, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close(); near.Close() })
	c := &counting{Conn: near}
	return New(c), c, far
}

// result is what a call in the background returned.
type result struct {
	n   int
	err error
}

func inBackground(call func() (int, error)) <-chan result {
	done := make(chan result, 1)
	go func() {
		n, err := call()
		done <- result{n, err}
	}()
	return done
}

func await(t *testing.T, done <-chan result) result {
	t.Helper()
	select {
	case r := <-done:
		return r
	case <-time.After(patience):
		t.Fatal("the call does not return")
		return result{}
	}
}

func TestReadEndsAtItsDeadline(t *testing.T) {
	c, _, _ := pair(t)
	c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	begun := time.Now()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("error %v", err)
	}
	if took := time.Since(begun); took < 15*time.Millisecond {
		t.Errorf("ended after %s", took)
	}
	// It stays as it is until another one is set.
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("error %v", err)
	}
}

func TestDeadlineReachesAReadUnderWay(t *testing.T) {
	c, set, _ := pair(t)
	for _, at := range []time.Time{time.Unix(1, 0), time.Now().Add(-time.Second), time.Now().Add(20 * time.Millisecond)} {
		c.SetReadDeadline(time.Now().Add(time.Hour))
		before := set.reads.Load()
		done := inBackground(func() (int, error) { return c.Read(make([]byte, 1)) })
		for end := time.Now().Add(patience); set.reads.Load() == before; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the read does not begin")
			}
		}
		c.SetReadDeadline(at)
		if r := await(t, done); !errors.Is(r.err, os.ErrDeadlineExceeded) {
			t.Errorf("deadline %s: %v", at, r.err)
		}
	}
}

// What was set for one request and is over does not end the next one.
func TestOldDeadlineDoesNotEndALaterCall(t *testing.T) {
	c, set, far := pair(t)
	c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	for _, next := range []time.Time{{}, time.Now().Add(time.Hour)} {
		c.SetReadDeadline(next)
		before := set.reads.Load()
		done := inBackground(func() (int, error) { return c.Read(make([]byte, 1)) })
		if next.IsZero() { // it has woken up, and been told of the new one
			for end := time.Now().Add(patience); set.reads.Load() == before; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("the old deadline was not replaced")
				}
			}
		}
		if _, err := far.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		if r := await(t, done); r.err != nil || r.n != 1 {
			t.Errorf("next deadline %s: %d bytes, %v", next, r.n, r.err)
		}
	}
}

func TestWriteGoesOnWhereItWokeUpTooEarly(t *testing.T) {
	c, set, far := pair(t)
	data := make([]byte, 32<<20) // more than the system takes without a reader
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := c.Write(data[:1]); err != nil { // sets it
		t.Fatal(err)
	}
	c.SetWriteDeadline(time.Time{})
	done := inBackground(func() (int, error) { return c.Write(data[1:]) })
	for end := time.Now().Add(patience); set.writes.Load() < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not wake up")
		}
	}
	got := make([]byte, len(data))
	far.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(far, got); err != nil {
		t.Fatal(err)
	}
	if r := await(t, done); r.err != nil || r.n != len(data)-1 {
		t.Errorf("%d bytes of %d, %v", r.n, len(data)-1, r.err)
	}
	if !bytes.Equal(got, data) {
		t.Error("other bytes came than were written")
	}
}

func TestWriteToWhoDoesNotReadEnds(t *testing.T) {
	c, _, _ := pair(t)
	c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := c.Write(make([]byte, 32<<20)); !errors.Is(err, os.ErrDeadlineExceeded) || n == 32<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestClosedConnectionIsNoDeadline(t *testing.T) {
	c, _, _ := pair(t)
	c.SetDeadline(time.Now().Add(time.Hour))
	done := inBackground(func() (int, error) { return c.Read(make([]byte, 1)) })
	c.Close()
	if r := await(t, done); !errors.Is(r.err, net.ErrClosed) {
		t.Errorf("error %v", r.err)
	}
	c.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("error %v", err)
	}
}

// listener makes every connection one with such deadlines.
type listener struct {
	net.Listener
	all atomic.Pointer[counting]
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	set := &counting{Conn: c}
	l.all.Store(set)
	return New(set), nil
}

// What this is for: requests one after the other on one connection.
func TestRequestsHardlySetDeadlines(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{Listener: inner}
	s := &http.Server{
		ReadHeaderTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute))
			_, _ = io.WriteString(w, "ok")
		}),
	}
	served := make(chan struct{})
	go func() { defer close(served); _ = s.Serve(l) }()
	defer func() { s.Close(); <-served }()
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}, Timeout: patience}
	defer client.CloseIdleConnections()
	const requests = 500
	for range requests {
		r, err := client.Get("http://" + inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(r.Body); err != nil || string(b) != "ok" {
			t.Fatalf("%q, %v", b, err)
		}
		r.Body.Close()
	}
	// Two for a read that was begun beside the handler and is ended; mostly it was not.
	set := l.all.Load()
	if r, w := set.reads.Load(), set.writes.Load(); r > 3*requests || w > 10 {
		t.Errorf("%d requests set %d and %d deadlines", requests, r, w)
	} else {
		t.Logf("%d requests set %d and %d deadlines", requests, r, w)
	}
}

func TestHeaderThatDoesNotComeEndsTheConnection(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ReadHeaderTimeout: 50 * time.Millisecond, IdleTimeout: time.Hour, Handler: http.NotFoundHandler()}
	served := make(chan struct{})
	go func() { defer close(served); _ = s.Serve(&listener{Listener: inner}) }()
	defer func() { s.Close(); <-served }()
	c, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	// One whole request first: the hour of an idle connection is set by then.
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HT"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, c); err != nil { // until the server closes it
		t.Errorf("the connection stays: %v", err)
	}
}

// A connection may still have a deadline that nobody wants any more when nothing is written.
func TestWritingNothingDoesNotMeetADeadlineThatWasLifted(t *testing.T) {
	c, _, _ := pair(t)
	c.SetWriteDeadline(time.Now().Add(time.Millisecond))
	if _, err := c.Write([]byte{1}); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	c.SetWriteDeadline(time.Time{})
	time.Sleep(5 * time.Millisecond)
	if n, err := c.Write(nil); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}
