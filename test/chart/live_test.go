package chart

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/certs"
)

// Scrapes of the live processes, and the time between two as the queries see it.
const (
	scrapes  = 16
	interval = 15 * time.Second
)

// secret is the token of who may write.
const secret = "a-token-of-a-test"

// TestQueriesHaveData runs every query of every dashboard, and every metric that
// an alert names, in Prometheus's own engine on what a server and a client export.
func TestQueriesHaveData(t *testing.T) {
	promtool := tool(t, "promtool")
	samples := live(t)

	type panel struct {
		Title   string
		Targets []struct{ Expr string }
	}
	var queries []string
	files, err := filepath.Glob(filepath.Join(root, "helm", "files", "dashboards", "*.json"))
	if err != nil || len(files) < 3 {
		t.Fatalf("%d dashboards: %v", len(files), err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var d struct{ Panels []panel }
		if err := json.Unmarshal(data, &d); err != nil {
			t.Fatal(err)
		}
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				queries = append(queries, q.Expr)
			}
		}
	}
	rules, err := os.ReadFile(filepath.Join(root, "helm", "files", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, metric := range regexp.MustCompile(`proofsync_[a-z_]+`).FindAllString(string(rules), -1) {
		if metric != "proofsync_serve_database_failures_total" { // has no series until there is a failure
			queries = append(queries, metric)
		}
	}
	slices.Sort(queries)
	queries = slices.Compact(queries)

	variables := strings.NewReplacer("$namespace", ".*", "$pod", ".*", "$__rate_interval", "1m", "$__range", "3m")
	var test strings.Builder
	test.WriteString("evaluation_interval: 15s\ntests:\n  - interval: 15s\n    input_series:\n")
	for _, s := range samples {
		fmt.Fprintf(&test, "      - {series: %q, values: %q}\n", s.series, strings.Join(s.values, " "))
	}
	test.WriteString("    promql_expr_test:\n")
	for _, q := range queries {
		fmt.Fprintf(&test, "      - expr: %q\n        eval_time: %s\n        exp_samples: [{labels: '{}', value: 1}]\n",
			"count("+variables.Replace(q)+") > bool 0", (scrapes-1)*interval)
	}
	file := filepath.Join(t.TempDir(), "live.yaml")
	if err := os.WriteFile(file, []byte(test.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, msg, ok := run(t, nil, promtool, "test", "rules", file); !ok {
		t.Errorf("queries without data: %s%s", out, msg)
	}
	t.Logf("%d queries on %d live series", len(queries), len(samples))
}

// TestAlerts: the rules are well formed, and each fires and does not fire.
func TestAlerts(t *testing.T) {
	promtool := tool(t, "promtool")
	for _, args := range [][]string{
		{"check", "rules", filepath.Join(root, "helm", "files", "alerts.yaml")},
		{"test", "rules", filepath.Join(root, "deploy", "alerts", "tests.yaml")},
	} {
		if out, msg, ok := run(t, nil, promtool, args...); !ok {
			t.Errorf("promtool %s: %s%s", strings.Join(args, " "), out, msg)
		}
	}
}

// TestRunbooks: each alert has a page, each page an alert, and each alert is seen firing in the tests.
func TestRunbooks(t *testing.T) {
	rules, err := os.ReadFile(filepath.Join(root, "helm", "files", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile(filepath.Join(root, "deploy", "alerts", "tests.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var pages []string
	for _, m := range regexp.MustCompile(`(?s)alert: (\w+).*?runbooks/([a-z-]+\.md)`).FindAllStringSubmatch(string(rules), -1) {
		pages = append(pages, m[2])
		page, err := os.ReadFile(filepath.Join(root, "deploy", "runbooks", m[2]))
		if err != nil {
			t.Error(err)
		} else if !strings.Contains(string(page), m[1]) {
			t.Errorf("%s does not name %s", m[2], m[1])
		}
		if !strings.Contains(string(tests), `alertname="`+m[1]+`"`) {
			t.Errorf("%s is not seen firing in deploy/alerts/tests.yaml", m[1])
		}
	}
	files, err := filepath.Glob(filepath.Join(root, "deploy", "runbooks", "*.md"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no runbooks: %v", err)
	}
	for _, f := range files {
		if base := filepath.Base(f); base != "README.md" && !slices.Contains(pages, base) {
			t.Errorf("no alert leads to %s", base)
		}
	}
}

// sampled is a series as promtool's tests write it.
type sampled struct {
	series string
	values []string
}

// live starts a server and a client that follows it, and scrapes both.
func live(t *testing.T) []sampled {
	t.Helper()
	bin := t.TempDir()
	if out, msg, ok := run(t, nil, "go", "build", "-o", bin, root+"/cmd/server", root+"/cmd/client"); !ok {
		t.Fatalf("go build: %s%s", out, msg)
	}
	token := filepath.Join(bin, "token")
	if err := os.WriteFile(token, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	// It has no certificate and speaks no TLS, but the file's metrics.
	ca := filepath.Join(bin, "ca.pem")
	authority, err := certs.NewAuthority("test", 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ca, authority.CertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	server := start(t, filepath.Join(bin, "server"), 3, "--port", "0", "--op-interval", "50ms", "--write-token-file", token, "--tls-ca-file", ca)
	client := start(t, filepath.Join(bin, "client"), 2, "--server", server["server"], "--sync-interval", "50ms", "--follow")
	of := map[string]string{"server": server["metrics"], "client": client["metrics"]}
	for _, addr := range []string{server["HTTP"], client["HTTP"]} {
		watch(t, addr)
	}

	byName := make(map[string]*sampled)
	for i := range scrapes {
		time.Sleep(100 * time.Millisecond) // so that counters move between two scrapes
		for _, addr := range []string{server["HTTP"], client["HTTP"]} {
			for _, path := range []string{"/", "/v1/status", "/v1/keys?limit=3&values=true", "/v1/keys/" + strings.Repeat("A", 43) + "?proof=true", "/v1/operations?start=0&limit=3", "/v1/commits?limit=2"} {
				ask(t, http.MethodGet, addr, path, "")
			}
		}
		ask(t, http.MethodPost, server["HTTP"], "/v1/batches", fmt.Sprintf(`{"bytes":"utf8","writes":[{"key":"%032d","value":"%032d"}]}`, i, i))
		for pod, addr := range of {
			for line := range strings.Lines(scrape(t, addr)) {
				if strings.HasPrefix(line, "#") {
					continue
				}
				cut := strings.LastIndexByte(line, ' ')
				name, labels, _ := strings.Cut(strings.TrimSuffix(line[:cut], "}"), "{")
				if labels != "" {
					labels += ","
				}
				series := fmt.Sprintf(`%s{%snamespace="n",job=%q,pod="%s-0"}`, name, labels, pod, pod)
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

// start runs a service on free ports until the test ends, and returns the first
// count addresses that it logs it listens on, by the first word of what it says:
// metrics, server (the sync protocol), HTTP.
func start(t *testing.T, program string, count int, args ...string) map[string]string {
	t.Helper()
	args = append(args, "--metrics-port", "0", "--http-port", "0", "--log-format", "json", "--storage-dir", filepath.Join(t.TempDir(), "db"))
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
	for len(addrs) < count && lines.Scan() {
		var line struct{ Msg, Addr string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Addr != "" && strings.Contains(line.Msg, "listening") {
			what, _, _ := strings.Cut(line.Msg, " ")
			addrs[what] = line.Addr
		}
	}
	if len(addrs) < count {
		t.Fatalf("%s ended early", filepath.Base(program))
	}
	done := make(chan struct{})
	go func() { defer close(done); _, _ = io.Copy(io.Discard, logs) }()
	t.Cleanup(func() { <-done })
	return addrs
}

// watch reads the changes of a process until the test ends.
func watch(t *testing.T, addr string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/v1/watch?changes=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	opened, done := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(done)
		resp, err := new(http.Client).Do(req) // without a timeout: the test's context ends it
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
func ask(t *testing.T, method, addr, path, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	resp, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	said, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusGone {
		t.Fatalf("%s %s: %s, %v: %.300s", method, path, resp.Status, err, said)
	}
}

func scrape(t *testing.T, addr string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/metrics", nil)
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
		t.Fatalf("%s: %s, %v", addr, resp.Status, err)
	}
	return string(body)
}
