package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"time"

	"github.com/proofsync/proofsync/pkg/operation"
)

// job is what a child process is told on its standard input. It answers with
// JSON on standard output: a server with a serverUp when it listens and a
// serverDown after its input has ended, a client with a Run.
type job struct {
	Role      string `json:"role"` // "server" or "client"
	Dir       string `json:"dir"`
	Family    string `json:"family"`
	Encoding  string `json:"encoding"`
	Addr      string `json:"addr,omitempty"`
	BatchSize int    `json:"batch_size,omitempty"`
}

type serverUp struct {
	Addr string `json:"addr"`
}

type serverDown struct {
	PeakBytes uint64 `json:"peak_memory_bytes"`
}

// Child is the body of a child process.
func Child(ctx context.Context, in io.Reader, out io.Writer) error {
	dec := json.NewDecoder(in)
	var j job
	if err := dec.Decode(&j); err != nil {
		return fmt.Errorf("job: %w", err)
	}
	family, err := operation.ParseFamily(j.Family)
	if err != nil {
		return err
	}
	encoding, err := operation.ParseEncoding(j.Encoding)
	if err != nil {
		return err
	}
	codec := operation.NewCodec(family, encoding)
	switch j.Role {
	case "server":
		return serverChild(ctx, j, codec, io.MultiReader(dec.Buffered(), in), json.NewEncoder(out))
	case "client":
		return clientChild(ctx, j, codec, json.NewEncoder(out))
	}
	return fmt.Errorf("job: unknown role %q", j.Role)
}

// process is a running child.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	out    *json.Decoder
	stderr *tailWriter
}

func start(ctx context.Context, o Options, j job) (*process, error) {
	cmd := o.Child(ctx)
	cmd.WaitDelay = 5 * time.Second
	p := &process{cmd: cmd, stderr: &tailWriter{}}
	cmd.Stderr = p.stderr
	var err error
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = json.NewDecoder(stdout)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start child process: %w", err)
	}
	j.Family, j.Encoding = o.Codec.Family().String(), o.Codec.Encoding().String()
	if err := json.NewEncoder(p.stdin).Encode(j); err != nil {
		return nil, p.end(err)
	}
	return p, nil
}

// read decodes the next answer of the child.
func (p *process) read(v any) error {
	err := p.out.Decode(v)
	if errors.Is(err, io.EOF) {
		return errors.New("child process ended without an answer")
	}
	return err
}

// end lets the child finish and returns err, or else what the child ended with.
func (p *process) end(err error) error {
	p.stdin.Close()
	wait := p.cmd.Wait()
	if wait == nil {
		return err
	}
	if text := strings.TrimSpace(p.stderr.String()); text != "" {
		return errors.Join(err, fmt.Errorf("%w: %s", wait, text))
	}
	return errors.Join(err, wait)
}

// tailWriter keeps the last bytes written to it.
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

// serverProcess is a child that serves the prepared database.
type serverProcess struct {
	*process
	addr string
}

func startServer(ctx context.Context, o Options, dir string) (*serverProcess, error) {
	p, err := start(ctx, o, job{Role: "server", Dir: dir})
	if err != nil {
		return nil, err
	}
	var up serverUp
	if err := p.read(&up); err != nil {
		return nil, fmt.Errorf("server: %w", p.end(err))
	}
	if _, _, err := net.SplitHostPort(up.Addr); err != nil {
		return nil, fmt.Errorf("server: %w", p.end(err))
	}
	return &serverProcess{p, up.Addr}, nil
}

// stop ends the server in good order and returns its peak memory.
func (s *serverProcess) stop() (uint64, error) {
	s.stdin.Close()
	var down serverDown
	err := s.read(&down)
	if err = s.end(err); err != nil {
		return 0, fmt.Errorf("server: %w", err)
	}
	return down.PeakBytes, nil
}

func syncOurs(ctx context.Context, o Options, batch int, addr, data string) (run Run, err error) {
	p, err := start(ctx, o, job{Role: "client", Dir: data, Addr: addr, BatchSize: batch})
	if err != nil {
		return run, err
	}
	err = p.read(&run)
	if err = p.end(err); err != nil {
		return run, fmt.Errorf("client: %w", err)
	}
	return run, nil
}
