package app

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"testing"
	"time"
)

// webServer serves with a bound on connections; requests for /wait hang until
// the test ends.
func webServer(t *testing.T, most int) (string, *webConns) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns := newWebConns(l, most)
	end := make(chan struct{})
	s := &http.Server{ConnState: conns.state, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			<-end
		}
		fmt.Fprint(w, "ok")
	})}
	served := make(chan struct{})
	go func() { defer close(served); _ = s.Serve(conns) }()
	t.Cleanup(func() { close(end); s.Close(); <-served })
	return l.Addr().String(), conns
}

func dialWeb(t *testing.T, addr, path string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	if path != "" {
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
	}
	return c, bufio.NewReader(c)
}

func (w *webConns) count(active bool) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for x := range w.conns {
		if x.busy.Load() == active {
			n++
		}
	}
	return n
}

func TestHTTPConnectionsThatOnlyStandAboutMakeRoom(t *testing.T) {
	const most = 8
	addr, conns := webServer(t, most)
	wait := func(what string, cond func() bool) {
		t.Helper()
		for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	held, busy := dialWeb(t, addr, "/wait")
	wait("no request", func() bool { return conns.count(true) == 1 })
	for range 3 * most {
		dialWeb(t, addr, "")
	}
	for range 3 {
		_, r := dialWeb(t, addr, "/")
		res, err := http.ReadResponse(r, nil)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("a newcomer is not answered: %v", err)
		}
		res.Body.Close()
	}
	if n := conns.count(true) + conns.count(false); n > most {
		t.Errorf("%d connections, at most %d", n, most)
	}
	wait("the request under way was ended", func() bool { return conns.count(true) == 1 })
	held.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := busy.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the request under way ended: %v", err)
	}

	// With a request on every connection there is no room.
	for range 2 * most {
		dialWeb(t, addr, "/wait")
	}
	wait("not all busy", func() bool { return conns.count(true) == most })
	_, r := dialWeb(t, addr, "/")
	if _, err := r.ReadByte(); err == nil {
		t.Error("one too many was answered")
	}
}
