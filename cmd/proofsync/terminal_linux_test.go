package main

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proofsync/proofsync/pkg/api"
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
)

// terminal is a pseudo-terminal whose output is kept.
type terminal struct {
	user, program *os.File

	mu   sync.Mutex
	text bytes.Buffer
}

func openTerminal(t *testing.T, rows uint16) *terminal {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here:", err)
	}
	if err := unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Skip("no pseudo-terminals here:", err)
	}
	n, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	x := &terminal{user: user, program: program}
	x.resize(t, rows)
	var reader sync.WaitGroup
	reader.Go(func() {
		b := make([]byte, 4096)
		for {
			n, err := user.Read(b)
			x.mu.Lock()
			x.text.Write(b[:n])
			x.mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		program.Close() // ends the reader
		reader.Wait()
		user.Close()
	})
	return x
}

func (x *terminal) resize(t *testing.T, rows uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(x.program.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: 100}); err != nil {
		t.Fatal(err)
	}
}

// drawn is what was written so far.
func (x *terminal) drawn() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.text.String()
}

// await waits until what is drawn after a place matches, and returns where that ends.
func (x *terminal) await(t *testing.T, from int, pattern string) int {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if at := re.FindStringIndex(x.drawn()[from:]); at != nil {
			return from + at[1]
		}
	}
	text := x.drawn()[from:]
	t.Fatalf("no %q at the end of %q", pattern, text[max(0, len(text)-2000):])
	return 0
}

func TestWatchRedrawsOnATerminalAndLeavesItAsItWas(t *testing.T) {
	db, err := database.Open(t.TempDir(), database.Options{Codec: operation.NewCodec(operation.Any, operation.Variable), CreateIfMissing: true})
	if err != nil {
		t.Fatal(err)
	}
	a := api.New(api.Options{DB: db})
	s := httptest.NewServer(a.Handler())
	t.Cleanup(func() {
		if err := a.Shutdown(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
		s.Close()
		db.Close()
	})
	put := func(key, value string) {
		t.Helper()
		if _, err := db.Apply(t.Context(), database.Batch{Writes: []database.Write{{Key: []byte(key), Value: []byte(value)}}}); err != nil {
			t.Fatal(err)
		}
	}
	for i, colour := range []bool{true, false} {
		t.Setenv("TERM", "xterm")
		t.Setenv("NO_COLOR", map[bool]string{true: "", false: "1"}[colour])
		x := openTerminal(t, 30)
		var errs bytes.Buffer
		code := make(chan int, 1)
		go func() {
			code <- run([]string{"watch", "-u", s.URL, "--changes", "--count", "3"}, streams{strings.NewReader(""), x.program, &errs})
		}()
		at := x.await(t, 0, `size \d+ root [0-9a-f]{64}`)
		put("alice", fmt.Sprint(i, "\x1b[31mgineer")) // must not reach the terminal as it is
		at = x.await(t, at, `key=alice value=3[01]1b`)
		x.await(t, at, `(?s)\x1b\[H.*root [0-9a-f]{64}.*\x1b\[J`)

		// A smaller terminal has room for the status alone.
		x.resize(t, 5)
		before := len(x.drawn())
		if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
			t.Fatal(err)
		}
		end := x.await(t, before, `(?s)\x1b\[H.*\x1b\[J`)
		screens := strings.Split(x.drawn()[before:end], home)
		if last := screens[len(screens)-1]; strings.Count(last, "\r\n") != 4 || strings.Contains(last, "alice") {
			t.Errorf("drawn on five rows: %q", last)
		}
		put("bob", fmt.Sprint(i))
		if c := <-code; c != 0 {
			t.Fatalf("exit code %d: %s", c, errs.String())
		}
		x.await(t, 0, `(?s)\x1b\[\?1049l.* size \d+ root [0-9a-f]{64}\r\n$`)
		text := x.drawn()
		if !strings.HasPrefix(text, enterScreen) || strings.Count(text, leaveScreen) != 1 || strings.Contains(text, "\x1b[31mgineer") {
			t.Errorf("drawn: %q", text)
		}
		if got := strings.Contains(text, "\x1b[32mserving\x1b[0m"); got != colour {
			t.Errorf("colour is %v, want %v: %q", got, colour, text)
		}
	}
}
