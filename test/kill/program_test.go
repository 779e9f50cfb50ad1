package kill

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/app"
)

// programName is the variable that makes this test a server or a client.
const programName = "KILL_TEST_PROGRAM"

func TestMain(m *testing.M) {
	switch name := os.Getenv(programName); name {
	case "server":
		os.Exit(app.ServerMain(os.Args[1:], app.OS()))
	case "client":
		os.Exit(app.ClientMain(os.Args[1:], app.OS()))
	}
	os.Exit(m.Run())
}

// patience bounds every wait; only a failing test waits for it.
const patience = time.Minute

// program is a server or a client that is started again and again on the same
// directory and ports.
type program struct {
	name string
	dir  string
	log  string // file of the standard error of all its processes
	api  string // where its HTTP API is
	args []string
	cmd  *exec.Cmd
}

// port finds a port that is free now.
func port(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()[strings.LastIndex(l.Addr().String(), ":")+1:]
}

func newProgram(t *testing.T, name string, args ...string) *program {
	t.Helper()
	folder, http := t.TempDir(), port(t)
	p := &program{name: name, dir: filepath.Join(folder, "data"), log: filepath.Join(folder, "log"), api: "http://127.0.0.1:" + http}
	p.args = append([]string{"-d", p.dir, "-m", "0", "--http-port", http, "--encoding", "variable"}, args...)
	t.Cleanup(func() {
		p.kill(t)
		if t.Failed() {
			text, _ := os.ReadFile(p.log)
			t.Logf("end of what the %s said:\n%s", name, text[max(0, len(text)-4000):])
		}
	})
	return p
}

func (p *program) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.cmd = exec.Command(os.Args[0], p.args...)
	// What configures our commands elsewhere is not meant for these.
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PROOFSYNC_") })
	p.cmd.Env = append(p.cmd.Env, programName+"="+p.name)
	p.cmd.Stderr = log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// kill ends the process as a power button does. One that ended by itself
// before is an error: nothing that happens here is a reason to.
func (p *program) kill(t *testing.T) {
	t.Helper()
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may be gone: seen below
	err := p.cmd.Wait()
	if s, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !s.Signaled() {
		t.Errorf("the %s ended by itself: %v", p.name, err)
	}
	p.cmd = nil
}

// stop asks the process to end, which it has to do in good order.
func (p *program) stop() error {
	cmd := p.cmd
	p.cmd = nil
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}
