package browser

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/remote"
)

// programs builds our commands and returns the directory they are in.
func programs(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	dir := t.TempDir()
	build := exec.CommandContext(ctx, "go", "build", "-o", dir,
		"github.com/proofsync/proofsync/cmd/server", "github.com/proofsync/proofsync/cmd/client")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building our commands: %v\n%s", err, out)
	}
	return dir
}

// program is one of our commands, running until the test ends.
type program struct {
	t   testing.TB
	log string // file of its standard error
}

// The lines of the log that say where somebody listens. A server says the first
// one when its data is there.
var (
	syncAddress = regexp.MustCompile(`server listening addr=(\S+)`)
	pageAddress = regexp.MustCompile(`HTTP API and status page listening addr=(\S+)`)
)

// run starts a command in a new directory, with ports that the system chooses.
func run(t testing.TB, path string, args ...string) *program {
	t.Helper()
	dir := t.TempDir()
	p := &program{t: t, log: filepath.Join(dir, "log")}
	log, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	args = append([]string{"-d", filepath.Join(dir, "data"), "--http-port", "0", "-m", "0"}, args...)
	// It outlives the tabs that show it, which are closed after the test's context has ended.
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stderr = log
	// What configures our commands elsewhere is not meant for these.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PROOFSYNC_") })
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = patience // and then it is killed
	if err := cmd.Start(); err != nil {
		stop()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait() // says that it was us who ended it
		if code := cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("%s: exit code %d", filepath.Base(path), code)
		}
		if text, _ := os.ReadFile(p.log); t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(path), text)
		}
	})
	return p
}

// said is the first group of a line in the log, or nothing yet.
func (p *program) said(line *regexp.Regexp) string {
	p.t.Helper()
	text, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Fatal(err)
	}
	if m := line.FindSubmatch(text); m != nil {
		return string(m[1])
	}
	return ""
}

// await waits for a line in the log.
func (p *program) await(line *regexp.Regexp, most time.Duration) string {
	p.t.Helper()
	for end := time.Now().Add(most); ; time.Sleep(20 * time.Millisecond) {
		if s := p.said(line); s != "" {
			return s
		}
		if time.Now().After(end) {
			p.t.Fatalf("not within %s: a line like %q", most, line)
		}
	}
}

// page is where its status page is.
func (p *program) page() string {
	p.t.Helper()
	return "http://" + p.await(pageAddress, patience) + "/"
}

// flipper is a proxy that changes one byte of the value in every answer about a
// key, and nothing else.
func flipper(t testing.TB, page string) string {
	t.Helper()
	target, err := url.Parse(page)
	if err != nil {
		t.Fatal(err)
	}
	written := regexp.MustCompile(`"value":"([\w-]+)"`)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Del("Accept-Encoding") // the transport unpacks what it asked for itself
		},
		ModifyResponse: func(r *http.Response) error {
			if !strings.HasPrefix(r.Request.URL.Path, "/v1/keys/") {
				return nil
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			m := written.FindSubmatchIndex(body)
			if m == nil {
				return fmt.Errorf("an answer without a value: %s", body)
			}
			text := body[m[2]:m[3]]
			value, err := base64.RawURLEncoding.DecodeString(string(text))
			if err != nil {
				return err
			}
			value[len(value)/2] ^= 1
			base64.RawURLEncoding.Encode(text, value)
			r.Body = io.NopCloser(bytes.NewReader(body))
			return nil
		},
	}
	s := httptest.NewServer(proxy)
	t.Cleanup(func() {
		s.CloseClientConnections() // streams of events do not end by themselves
		s.Close()
	})
	return s.URL + "/"
}

// author writes to a server through its API.
type author struct {
	t      testing.TB
	client *remote.Client
	source string     // directory of Go's source
	next   [][]string // files below source that are yet to be written, by directory
}

// token makes a secret for a server and its author, and the file it is in.
func token(t testing.TB) (secret, file string) {
	t.Helper()
	secret, file = rand.Text(), filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	return secret, file
}

func newAuthor(t testing.TB, page, secret string) *author {
	t.Helper()
	client, err := remote.New(page, remote.Options{Token: secret, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	a := &author{t: t, client: client, source: filepath.Join(strings.TrimSpace(string(root)), "src")}
	packages := map[string][]string{}
	err = filepath.WalkDir(a.source, func(path string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") && e.Type().IsRegular() {
			packages[filepath.Dir(path)] = append(packages[filepath.Dir(path)], path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range slices.Sorted(maps.Keys(packages)) {
		a.next = append(a.next, packages[dir])
	}
	return a
}

// modules writes the checksums of the modules that this one needs: a key is a
// module and its version, as in go.sum. It returns the key of the module that is
// asked for.
func (a *author) modules(want string) string {
	a.t.Helper()
	sums, err := os.ReadFile(filepath.Join("..", "..", "go.sum"))
	if err != nil {
		a.t.Fatal(err)
	}
	var b remote.Batch
	var found string
	for line := range strings.Lines(string(sums)) {
		f := strings.Fields(line)
		key := f[0] + " " + f[1]
		b.Writes = append(b.Writes, remote.Write{Key: []byte(key), Value: []byte(f[2])})
		if f[0] == want && !strings.HasSuffix(key, "/go.mod") {
			found = key
		}
	}
	a.commit(b)
	if found == "" {
		a.t.Fatalf("%s is not in go.sum", want)
	}
	return found
}

// sources writes the checksums of Go's source, a package in a commit, until it
// is told that this is enough, or there are no more.
func (a *author) sources(pace time.Duration, enough func() bool) {
	a.t.Helper()
	for ; len(a.next) > 0 && !enough(); time.Sleep(pace) {
		var b remote.Batch
		for _, path := range a.next[0] {
			text, err := os.ReadFile(path)
			if err != nil {
				a.t.Fatal(err)
			}
			name, err := filepath.Rel(a.source, path)
			if err != nil {
				a.t.Fatal(err)
			}
			b.Writes = append(b.Writes, remote.Write{Key: []byte(filepath.ToSlash(name)), Value: fmt.Appendf(nil, "sha256:%x", sha256.Sum256(text))})
		}
		a.next = a.next[1:]
		a.commit(b)
	}
}

func (a *author) commit(b remote.Batch) {
	a.t.Helper()
	if _, err := a.client.Apply(a.t.Context(), b); err != nil {
		a.t.Fatal(err)
	}
}
