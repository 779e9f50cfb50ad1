package app

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/document"
)

// process is one of the commands as a process of its own.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	logs logBuffer
	done chan struct{} // closed when it has ended
}

// startProcess runs a command until the end of the test, at the latest. Its
// ports are free ones.
func startProcess(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(name, append([]string{"-m", "0", "--http-port", "0"}, args...)...), done: make(chan struct{})}
	p.cmd.Stderr = &p.logs
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // tests look at the exit code
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.done
		if t.Failed() {
			s := p.logs.String()
			t.Logf("%s, its last lines:\n%s", name, s[max(0, len(s)-4096):])
		}
	})
	return p
}

// address is what the newest line that names one says.
func (p *process) address(line string) string {
	p.t.Helper()
	re := regexp.MustCompile(line + ` addr=(\S+)`)
	var found [][]string
	eventually(p.t, line, func() bool {
		found = re.FindAllStringSubmatch(p.logs.String(), -1)
		return found != nil
	})
	return found[len(found)-1][1]
}

const (
	metricsLine = "metrics and probes listening"
	httpLine    = "HTTP API and status page listening"
	syncLine    = "server listening.*"
)

func (p *process) get(line, path string) (int, string) {
	p.t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + p.address(line) + path)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(body)
}

// state is the status document.
func (p *process) state() (s document.Status) {
	p.t.Helper()
	if code, body := p.get(httpLine, "/v1/status"); code == http.StatusOK {
		if err := json.Unmarshal([]byte(body), &s); err != nil {
			p.t.Error(err)
		}
	}
	return s
}

// post hands in a batch with the token. It returns the status, the header
// Retry-After and, if it was refused, why.
func (p *process) post(token, body string) (status int, retry string, problem document.Problem) {
	p.t.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://"+p.address(httpLine)+"/v1/batches", bytes.NewReader([]byte(body)))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		if err := json.NewDecoder(res.Body).Decode(&problem); err != nil {
			p.t.Fatal(err)
		}
	}
	return res.StatusCode, res.Header.Get("Retry-After"), problem
}

// stop asks for the end, which has to come with the exit code 0.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatal("does not end")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Fatalf("exit code %d", code)
	}
}

// kill ends it without any warning.
func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	<-p.done
}

// lines counts the lines of the log that contain text.
func (p *process) lines(text string) int { return strings.Count(p.logs.String(), text) }

// writeFile writes a file of the test.
func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
