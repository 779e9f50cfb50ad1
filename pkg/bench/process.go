package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// process is the parent's end of a child.
type process struct {
	role   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	enc    *json.Encoder
	out    *json.Decoder
	stderr *tailWriter
	ended  bool
}

// spawn starts a child and waits until it is ready.
func spawn(ctx context.Context, o Options, j job) (*process, answer, error) {
	cmd := o.Child(ctx)
	cmd.WaitDelay = 5 * time.Second
	p := &process{role: j.Role, cmd: cmd, stderr: &tailWriter{}}
	cmd.Stderr = p.stderr
	var err error
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, answer{}, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, answer{}, err
	}
	p.enc, p.out = json.NewEncoder(p.stdin), json.NewDecoder(stdout)
	if err := cmd.Start(); err != nil {
		return nil, answer{}, fmt.Errorf("start child process: %w", err)
	}
	j.Family, j.Encoding = o.Codec.Family().String(), o.Codec.Encoding().String()
	j.ValueBytes, j.CacheBytes = o.ValueBytes, o.CacheBytes
	a, err := p.ask(j)
	return p, a, err
}

// do has the child do something.
func (p *process) do(s step) (answer, error) { return p.ask(s) }

// ask sends a line and reads the answer. After an error the child has ended.
func (p *process) ask(line any) (a answer, err error) {
	if err = p.enc.Encode(line); err == nil {
		err = p.out.Decode(&a)
	}
	if err == nil {
		return a, nil
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) {
		err = errors.New("it ended without an answer")
	}
	if wait := p.end(); wait != nil {
		err = wait // says why
	}
	return a, fmt.Errorf("%s: %w", p.role, err)
}

// end lets the child finish, and returns what it ended with. Only the first call
// does something.
func (p *process) end() error {
	if p.ended {
		return nil
	}
	p.ended = true
	p.stdin.Close()
	err := p.cmd.Wait()
	if text := strings.TrimSpace(p.stderr.String()); err != nil && text != "" {
		return fmt.Errorf("%w: %s", err, strings.ReplaceAll(text, "\n", "; "))
	}
	return err
}

// kill ends the child as a crash would.
func (p *process) kill() {
	if p.ended {
		return
	}
	p.ended = true
	_ = p.cmd.Process.Kill() // it may have ended by itself
	_ = p.cmd.Wait()         // says that it was killed
}

// tailWriter keeps the last bytes written to it. It is read after the child
// has ended.
type tailWriter struct{ b []byte }

func (w *tailWriter) Write(p []byte) (int, error) {
	const most = 2048
	w.b = append(w.b, p...)
	if over := len(w.b) - most; over > 0 {
		w.b = append(w.b[:0], w.b[over:]...)
	}
	return len(p), nil
}

func (w *tailWriter) String() string { return string(w.b) }
