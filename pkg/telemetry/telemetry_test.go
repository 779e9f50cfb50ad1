package telemetry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"testing/slogtest"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mark is a value with a text form, as digests have.
type mark struct{}

func (mark) MarshalText() ([]byte, error) { return []byte("ab12"), nil }

func TestTextLinesHaveTheReferenceShape(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_900_000, time.FixedZone("x", 3600))
	for _, c := range []struct {
		name string
		msg  string
		args []any
		want string
	}{
		{"plain", "database ready", []any{"op_count", 111, "root", mark{}}, "database ready op_count=111 root=ab12"},
		{"quoting", "x", []any{"a", "two words", "b", `say "hi"`, "c", "", "d", "k=v", "e", "nul\x00\n", "f", "ümlaut"},
			`x a="two words" b="say \"hi\"" c="" d="k=v" e="nul\x00\n" f=ümlaut`},
		{"kinds", "x", []any{"d", 1500 * time.Millisecond, "t", at, "err", errors.New("it broke"), "ok", true, "list", []string{"a", "b"}, "nil", nil},
			`x d=1.5s t=2026-01-02T02:04:05.678Z err="it broke" ok=true list="[a b]" nil=<nil>`},
		{"groups", "x", []any{slog.Group("g", "a", 1, slog.Group("h", "b", 2)), slog.Group("", "c", 3)}, "x g.a=1 g.h.b=2 c=3"},
		{"forged line", "one\n2026 INFO two", nil, `"one\n2026 INFO two"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			r := slog.NewRecord(at, slog.LevelInfo, c.msg, 0)
			r.Add(c.args...)
			if err := NewHandler(&b, nil).Handle(context.Background(), r); err != nil {
				t.Fatal(err)
			}
			if want := "2026-01-02T02:04:05.678Z INFO " + c.want + "\n"; b.String() != want {
				t.Errorf("got  %swant %s", b.String(), want)
			}
		})
	}
}

// slogtest holds the handler to the contract of slog.Handler.
func TestTextHandlerKeepsTheContractOfSlog(t *testing.T) {
	var b bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		b.Reset()
		return NewHandler(&b, slog.LevelDebug)
	}, func(t *testing.T) map[string]any {
		return parseLine(t, strings.TrimSuffix(b.String(), "\n"))
	})
}

// parseLine reads a line without quoted values back into nested maps.
func parseLine(t *testing.T, line string) map[string]any {
	t.Helper()
	out := map[string]any{}
	words := strings.Fields(line)
	if _, err := time.Parse(time.RFC3339, words[0]); err == nil {
		out[slog.TimeKey], words = words[0], words[1:]
	}
	out[slog.LevelKey], words = words[0], words[1:]
	for _, w := range words {
		key, val, ok := strings.Cut(w, "=")
		if !ok {
			out[slog.MessageKey] = w
			continue
		}
		m := out
		for {
			group, rest, nested := strings.Cut(key, ".")
			if !nested {
				break
			}
			if m[group] == nil {
				m[group] = map[string]any{}
			}
			m, key = m[group].(map[string]any), rest
		}
		m[key] = val
	}
	return out
}

func TestLevelAndFormatAreRespected(t *testing.T) {
	var b bytes.Buffer
	l := NewLogger(&b, "text", slog.LevelWarn)
	l.Info("hidden")
	l.Warn("shown", "n", 1)
	if s := b.String(); strings.Contains(s, "hidden") || !strings.HasSuffix(s, " WARN shown n=1\n") {
		t.Errorf("text: %q", s)
	}
	b.Reset()
	NewLogger(&b, "json", slog.LevelInfo).Info("shown", "n", 1)
	if !strings.Contains(b.String(), `"msg":"shown","n":1}`) {
		t.Errorf("json: %s", b.String())
	}
}

func TestDurationsAreTheSameWordInEveryFormat(t *testing.T) {
	for format, want := range map[string]string{
		"text": ` x every=0s took=1.5s g.wait=2m0s`,
		"json": `"msg":"x","every":"0s","took":"1.5s","g":{"wait":"2m0s"}}`,
	} {
		var b bytes.Buffer
		l := NewLogger(&b, format, slog.LevelInfo).With("every", time.Duration(0))
		l.Info("x", "took", 1500*time.Millisecond, slog.Group("g", "wait", 2*time.Minute))
		if !strings.HasSuffix(b.String(), want+"\n") {
			t.Errorf("%s: %s", format, b.String())
		}
	}
}

func TestBuildInfoPrefersTheLinkersWord(t *testing.T) {
	info := &debug.BuildInfo{Main: debug.Module{Version: "v1.0.0"}, Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}}}
	if b := buildInfo("", "", info); b.Version != "v1.0.0" || b.Commit != "abc-dirty" || !strings.HasPrefix(b.Go, "go") {
		t.Errorf("toolchain: %v", b)
	}
	if b := buildInfo("v2", "def", info); b.Version != "v2" || b.Commit != "def" {
		t.Errorf("linker: %v", b)
	}
	info.Main.Version, info.Settings = "(devel)", nil
	if b := buildInfo("", "", info); b.Version != "devel" || b.Commit != "unknown" {
		t.Errorf("nothing known: %v", b)
	}
}

func TestProbesAndMetricsOverHTTP(t *testing.T) {
	var open, serving atomic.Bool
	check := func(b *atomic.Bool) func() error {
		return func() error {
			if b.Load() {
				return nil
			}
			return errors.New("not yet")
		}
	}
	s := NewServer(Options{
		Addr: "127.0.0.1:0", Gatherer: NewRegistry(BuildInfo{"v1", "abc", "go1"}),
		Startup: []Probe{{"database", check(&open)}},
		Ready:   []Probe{{"database", check(&open)}, {"serving", check(&serving)}},
	})
	if err := s.Start(t.Context(), func(err error) { t.Error(err) }); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	do := func(method, path string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body)
	}
	expect := func(path string, status int, body string) {
		t.Helper()
		if got, text := do("GET", path); got != status || text != body {
			t.Errorf("%s: %d %q, want %d %q", path, got, text, status, body)
		}
	}
	expect("/livez", 200, "ok\n")
	expect("/startupz", 503, "database: not yet\n")
	expect("/readyz", 503, "database: not yet\nserving: not yet\n")
	open.Store(true)
	expect("/startupz", 200, "database: ok\n")
	expect("/readyz", 503, "database: ok\nserving: not yet\n")
	serving.Store(true)
	expect("/readyz", 200, "database: ok\nserving: ok\n")
	expect("/", 200, "/metrics\n/livez\n/readyz\n/startupz\n")
	if status, _ := do("GET", "/nothing"); status != 404 {
		t.Errorf("unknown path: %d", status)
	}
	if status, _ := do("POST", "/livez"); status != 405 {
		t.Errorf("POST: %d", status)
	}
	_, metrics := do("GET", "/metrics")
	for _, want := range []string{`proofsync_build_info{commit="abc",goversion="go1",version="v1"} 1`, "go_goroutines ", "process_"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics lacks %q", want)
		}
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if r, err := client.Get("http://" + s.Addr().String() + "/livez"); err == nil {
		r.Body.Close()
		t.Error("still answering after Stop")
	}
}

func TestStartReportsAnAddressInUse(t *testing.T) {
	a := NewServer(Options{Addr: "127.0.0.1:0", Gatherer: NewRegistry(BuildInfo{})})
	if err := a.Start(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	defer a.Stop(t.Context())
	b := NewServer(Options{Addr: a.Addr().String(), Gatherer: NewRegistry(BuildInfo{})})
	if err := b.Start(t.Context(), nil); err == nil || !strings.Contains(err.Error(), a.Addr().String()) {
		t.Errorf("got %v", err)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Errorf("stop of a server that never started: %v", err)
	}
}

func TestHeartbeatFailsOnlyWhenItStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHeartbeat(time.Second, 10*time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { h.Run(ctx); close(done) }()
		time.Sleep(time.Hour)
		if err := h.Check(); err != nil {
			t.Errorf("while beating: %v", err)
		}
		cancel()
		<-done
		time.Sleep(9 * time.Second)
		if err := h.Check(); err != nil {
			t.Errorf("within the limit: %v", err)
		}
		time.Sleep(2 * time.Second)
		if err := h.Check(); err == nil || !strings.Contains(err.Error(), "limit 10s") {
			t.Errorf("after the limit: %v", err)
		}
	})
}

func TestLagGateHasHysteresis(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &LagGate{Max: 100, For: 10 * time.Second}
		for i, c := range []struct {
			after time.Duration
			lag   uint64
			known bool
			want  string // "" ready, else part of the reason
		}{
			{0, 0, false, "lag unknown"},
			{time.Second, 101, true, "lag 101 operations, limit 100"},
			{time.Second, 100, true, ""},               // the first time, the limit itself will do
			{time.Second, 500, true, ""},               // above begins
			{9 * time.Second, 500, true, ""},           // patience
			{time.Second, 90, true, ""},                // back within: forgotten
			{time.Second, 500, true, ""},               // above begins anew
			{10 * time.Second, 101, true, "limit 100"}, // long enough
			{time.Second, 90, true, "ready again at 50"},
			{time.Second, 51, true, "ready again at 50"},
			{time.Second, 50, true, ""},
			{time.Second, 0, false, ""}, // unknown counts as above, with the same patience
			{10 * time.Second, 0, false, "lag unknown"},
		} {
			time.Sleep(c.after)
			g.Observe(c.lag, c.known)
			err := g.Check()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("step %d: %v, want %q", i, err, c.want)
			}
		}
	})
}
