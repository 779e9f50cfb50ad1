package chart

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/certs"
	"github.com/proofsync/proofsync/pkg/checkpoint"
)

// Scrapes of the live processes, and the time between two as the queries see it.
const (
	scrapes  = 16
	interval = 15 * time.Second
)

// secret is the token of who may write.
const secret = "a-token-of-a-test"

// sampled is a series as promtool's tests write it.
type sampled struct {
	series string
	values []string
}

// cluster is a server that signs, a witness, and a client that follows what both
// have signed, all of which speak TLS with certificates on both sides.
type cluster struct {
	metrics map[string]string // addresses by name of the process; in plaintext
	http    []string          // addresses of HTTP APIs; the server's is the first
	client  *http.Client      // for these, with a certificate
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	dir := t.TempDir()
	if out, msg, ok := run(t, nil, "go", "build", "-o", dir, root+"/cmd/server", root+"/cmd/client", root+"/cmd/proofsync"); !ok {
		t.Fatalf("go build: %s%s", out, msg)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name string, data []byte) string {
		if err := os.WriteFile(at(name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		return at(name)
	}
	authority, err := certs.NewAuthority("test", 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	secure := []string{"--tls-ca-file", write("ca.pem", authority.CertPEM())}
	cert, key, err := authority.Issue(certs.Leaf{Name: "test", Hosts: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	secure = append(secure, "--tls-cert-file", write("cert.pem", cert), "--tls-key-file", write("key.pem", key))
	public := make(map[string]string)
	for _, name := range []string{"writer", "witness"} {
		private, pub, err := checkpoint.GenerateKey("example.org/" + name)
		if err != nil {
			t.Fatal(err)
		}
		write(name+".key", []byte(private+"\n"))
		public[name] = pub
	}
	const origin = "example.org/log"
	// The server has to know the witness, and the witness the server.
	proofs, connect := relay(t)
	witness := start(t, 2, at("proofsync"), slices.Concat(secure, []string{"witness", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--log-format", "json",
		"--key-file", at("witness.key"), "--origin", origin, "--trusted-key", public["writer"], "--server", proofs, "--state", at("witness.state"), "--first-use"})...)
	service := func(name string) []string {
		return slices.Concat(secure, []string{"--metrics-port", "0", "--http-port", "0", "--log-format", "json", "--tls-client-auth", "require", "--storage-dir", at(name)})
	}
	server := start(t, 3, at("server"), append(service("log"), "--port", "0", "--op-interval", "50ms", "--write-token-file", write("token", []byte(secret)),
		"--checkpoint-key-file", at("writer.key"), "--checkpoint-origin", origin, "--checkpoint-witness", "https://"+witness["witness"])...)
	connect(server["server"])
	client := start(t, 2, at("client"), append(service("replica"), "--server", server["server"], "--sync-interval", "50ms", "--follow",
		"--target-source", "checkpoint", "--checkpoint", "https://"+server["HTTP"]+"/v1/checkpoint?signatures=2", "--checkpoint-origin", origin,
		"--trusted-key", public["writer"], "--trusted-key", public["witness"], "--quorum", "2")...)

	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(authority.Cert)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}}
	t.Cleanup(transport.CloseIdleConnections)
	c := &cluster{
		metrics: map[string]string{"server": server["metrics"], "client": client["metrics"], "witness": witness["metrics"]},
		http:    []string{server["HTTP"], client["HTTP"]},
		client:  &http.Client{Transport: transport},
	}
	c.await(t, "client", regexp.MustCompile(`(?m)^proofsync_checkpoint_followed_signatures 2$`))
	return c
}

// await waits for a line in the metrics of a process.
func (c *cluster) await(t *testing.T, process string, line *regexp.Regexp) {
	t.Helper()
	var got string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if got = c.scrape(t, process); line.MatchString(got) {
			return
		}
	}
	t.Fatalf("%s exports no %s: %s", process, line, got)
}

// sample scrapes everybody again and again, while somebody reads and writes.
func (c *cluster) sample(t *testing.T) []sampled {
	t.Helper()
	for _, addr := range c.http {
		c.watch(t, addr)
	}
	byName := make(map[string]*sampled)
	for i := range scrapes {
		time.Sleep(100 * time.Millisecond) // so that counters move between two scrapes
		for _, addr := range c.http {
			for _, path := range []string{"/", "/v1/status", "/v1/keys?limit=3&values=true", "/v1/keys/" + strings.Repeat("A", 43) + "?proof=true", "/v1/operations?start=0&limit=3", "/v1/commits?limit=2"} {
				c.ask(t, http.MethodGet, addr, path, "")
			}
		}
		c.ask(t, http.MethodPost, c.http[0], "/v1/batches", fmt.Sprintf(`{"bytes":"utf8","writes":[{"key":"%032d","value":"%032d"}]}`, i, i))
		for process := range c.metrics {
			for line := range strings.Lines(c.scrape(t, process)) {
				if strings.HasPrefix(line, "#") {
					continue
				}
				cut := strings.LastIndexByte(line, ' ')
				name, labels, _ := strings.Cut(strings.TrimSuffix(line[:cut], "}"), "{")
				if labels != "" {
					labels += ","
				}
				series := fmt.Sprintf(`%s{%snamespace="n",job=%q,pod="%s-0"}`, name, labels, process, process)
				s := byName[series]
				if s == nil {
					s = &sampled{series: series}
					byName[series] = s
				}
				for len(s.values) < i {
					s.values = append(s.values, "_")
				}
				s.values = append(s.values, strings.TrimSpace(line[cut:]))
			}
		}
	}
	var out []sampled
	for _, s := range byName {
		out = append(out, *s)
	}
	return out
}

// start runs a program until the test ends, and returns the first count addresses
// that it logs it listens on, by the first word of what it says: metrics, server
// (the sync protocol), HTTP, witness.
func start(t *testing.T, count int, program string, args ...string) map[string]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	logs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // interrupted; t.Context has ended
	lines := bufio.NewScanner(logs)
	addrs := make(map[string]string)
	var said bytes.Buffer
	for len(addrs) < count && lines.Scan() {
		said.Write(append(lines.Bytes(), '\n'))
		var line struct{ Msg, Addr string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Addr != "" && strings.Contains(line.Msg, "listening") {
			what, _, _ := strings.Cut(line.Msg, " ")
			addrs[what] = line.Addr
		}
	}
	if len(addrs) < count {
		t.Fatalf("%s ended early: %s", filepath.Base(program), said.Bytes())
	}
	done := make(chan struct{})
	go func() { defer close(done); _, _ = io.Copy(io.Discard, logs) }()
	t.Cleanup(func() { <-done })
	return addrs
}

// relay is an address that passes connections on to another one, which is told later.
func relay(t *testing.T) (addr string, connect func(to string)) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var target string
	known := make(chan struct{})
	var passing sync.WaitGroup
	pass := func(from net.Conn) {
		defer func() { _ = from.Close() }()
		select {
		case <-known:
		case <-t.Context().Done():
			return
		}
		to, err := new(net.Dialer).DialContext(t.Context(), "tcp", target)
		if err != nil {
			return
		}
		defer func() { _ = to.Close() }()
		stop := context.AfterFunc(t.Context(), func() { _, _ = from.Close(), to.Close() })
		defer stop()
		passing.Go(func() { _, _ = io.Copy(to, from); _ = to.Close() })
		_, _ = io.Copy(from, to)
	}
	passing.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			passing.Go(func() { pass(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); passing.Wait() })
	return l.Addr().String(), func(to string) { target = to; close(known) }
}

// watch reads the changes of a process until the test ends.
func (c *cluster) watch(t *testing.T, addr string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr+"/v1/watch?changes=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	opened, done := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(done)
		resp, err := c.client.Do(req) // without a timeout: the test's context ends it
		if err != nil {
			opened <- err
			return
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != http.StatusOK {
			opened <- errors.New(resp.Status)
			return
		}
		opened <- nil
		_, _ = io.Copy(io.Discard, resp.Body)
	}()
	t.Cleanup(func() { <-done })
	if err := <-opened; err != nil {
		t.Fatalf("watch %s: %v", addr, err)
	}
}

// ask makes a request of the HTTP API; a key that is not there is an answer, and so is a part of the log that is not there any more.
func (c *cluster) ask(t *testing.T, method, addr, path, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "https://"+addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	said, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusGone {
		t.Fatalf("%s %s: %s, %v: %.300s", method, path, resp.Status, err, said)
	}
}

// scrape is the page of metrics of a process, which needs no certificate.
func (c *cluster) scrape(t *testing.T, process string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+c.metrics[process]+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", process, resp.Status, err)
	}
	return string(body)
}
