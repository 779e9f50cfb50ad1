package interop

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	patience = 20 * time.Second      // bounds every wait; only a failing test waits for it
	pause    = 20 * time.Millisecond // between two looks at a log
	drain    = 15 * time.Second      // bounds the end of a program after a signal
	tail     = 4096                  // bytes of a log shown by a failing test
)

// process is a running program and what it has written so far. The test that
// started it owns it; it does not outlive the test.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	out  output
	done chan struct{} // closed when the program has ended and all it wrote is in out
}

// start runs a program until the test ends, at the latest.
func start(t *testing.T, path string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.name = filepath.Base(path)
	if strings.HasPrefix(path, os.Getenv(referenceVariable)) {
		p.name = "reference " + p.name
	}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.Env = environment()
	p.cmd.SysProcAttr = attributes()
	p.cmd.WaitDelay = drain
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // the exit code is what the tests look at
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // fails when the program has ended
		<-p.done
		if t.Failed() {
			s := p.out.String()
			t.Logf("%s %s, its last lines:\n%s", p.name, strings.Join(args, " "), s[max(0, len(s)-tail):])
		}
	})
	return p
}

// environment is ours, without what would configure our commands, and with the
// wish for logs without colours.
func environment() []string {
	env := []string{"NO_COLOR=1"}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PROOFSYNC_") && !strings.HasPrefix(v, "RUST_LOG=") {
			env = append(env, v)
		}
	}
	return env
}

// await waits until at least n lines match, and returns the groups of all that do.
func (p *process) await(re *regexp.Regexp, n int) [][]string {
	p.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(pause) {
		over := p.ended() // before the look: the log of a program that has ended is complete
		if found := p.matches(re); len(found) >= n {
			return found
		}
		if over || time.Now().After(end) {
			p.t.Fatalf("%s: %d of %d lines like %q (ended: %v)", p.name, len(p.matches(re)), n, re, over)
		}
	}
}

// matches returns the groups of the lines that match so far.
func (p *process) matches(re *regexp.Regexp) [][]string {
	return re.FindAllStringSubmatch(p.out.String(), -1)
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// stop sends a signal and returns the exit code, -1 if the signal ended the program.
func (p *process) stop(sig os.Signal) int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
	select {
	case <-p.done:
	case <-time.After(drain):
		p.t.Fatalf("%s: still running %v after %v", p.name, drain, sig)
	}
	return p.cmd.ProcessState.ExitCode()
}

// terminate asks one of our commands to end, which it has to do cleanly.
func (p *process) terminate() {
	p.t.Helper()
	if code := p.stop(syscall.SIGTERM); code != 0 {
		p.t.Fatalf("%s: exit code %d after SIGTERM", p.name, code)
	}
}

// output collects what a program writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

// String returns the complete lines.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.b.Bytes()[:bytes.LastIndexByte(o.b.Bytes(), '\n')+1])
}

// freePort returns a port nobody listens on. The reference programs cannot be
// asked to choose one themselves.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}
