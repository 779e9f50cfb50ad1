package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/fx"
	"go.uber.org/goleak"

	"github.com/proofsync/proofsync/pkg/config"
	"github.com/proofsync/proofsync/pkg/telemetry"
)

// logBuffer collects log lines of several goroutines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) logger() *slog.Logger { return telemetry.NewLogger(l, "text", slog.LevelInfo) }

// parseServer is a configuration on free ports in a temporary directory.
func parseServer(t *testing.T, args ...string) *config.Server {
	t.Helper()
	cfg, err := config.ParseServer(append([]string{"-p", "0", "-m", "0", "--http-port", "0", "-d", t.TempDir()}, args...))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func parseClient(t *testing.T, args ...string) *config.Client {
	t.Helper()
	cfg, err := config.ParseClient(append([]string{"-m", "0", "--http-port", "0", "-d", t.TempDir()}, args...))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestGraphsAreComplete(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	if err := fx.ValidateApp(serverOptions(parseServer(t), nil, log)); err != nil {
		t.Error("server:", err)
	}
	if err := fx.ValidateApp(clientOptions(parseClient(t), log)); err != nil {
		t.Error("client:", err)
	}
}

// startApp starts an app and stops it with the test.
func startApp(t *testing.T, app *fx.App) {
	t.Helper()
	if err := app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := app.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
}

// eventually waits until f returns true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

func TestPartsThatFailToStartLeaveNothingBehind(t *testing.T) {
	defer goleak.VerifyNone(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "letter.txt"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := parseServer(t, "-d", dir)
	app := Server(cfg, nil, slog.New(slog.DiscardHandler))
	if err := app.Start(t.Context()); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("start in a foreign directory: %v", err)
	}
}

// get is the status and the text of a page of a process.
func get(t *testing.T, metrics *telemetry.Server, path string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + metrics.Addr().String() + path)
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

func TestReadinessFollowsTheParts(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	var logs logBuffer
	var metrics *telemetry.Server
	app := Client(parseClient(t, "-s", "127.0.0.1:1", "-t", "20ms", "-i", "20ms"), logs.logger(), fx.Populate(&metrics))
	if err := app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"/livez": 200, "/startupz": 200, "/readyz": 503} {
		if got, body := get(t, metrics, path); got != want {
			t.Errorf("no server, nothing synced: %s: %d %s", path, got, body)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := app.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// A database that takes long to open is waited for: only a signal ends it.
func TestStartingIsNotBoundedInTime(t *testing.T) {
	var logs logBuffer
	app := fx.New(fx.NopLogger, fx.Invoke(func(lc fx.Lifecycle, end fx.Shutdowner) {
		lc.Append(fx.StartHook(func(ctx context.Context) error {
			if end, bounded := ctx.Deadline(); bounded {
				t.Errorf("the start ends at %s", end)
			}
			return end.Shutdown()
		}))
	}))
	if code := run(app, logs.logger(), patience); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, logs.String())
	}
}

func TestASignalEndsALongStart(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	var logs logBuffer
	app := fx.New(fx.NopLogger, fx.Invoke(func(lc fx.Lifecycle) {
		lc.Append(fx.StartHook(func(ctx context.Context) error {
			self, err := os.FindProcess(os.Getpid())
			if err == nil {
				err = self.Signal(syscall.SIGTERM)
			}
			if err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(patience):
				return errors.New("the start was not told")
			}
		}))
	}))
	if code := run(app, logs.logger(), patience); code != exitOK || !strings.Contains(logs.String(), "INFO stopped while starting") {
		t.Errorf("exit code %d:\n%s", code, logs.String())
	}
}

func TestProbesAnswerWhileTheDatabaseOpens(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	var logs logBuffer
	var metrics *telemetry.Server
	opening, open := make(chan struct{}), make(chan struct{})
	app := Server(parseServer(t, "-i", "10"), nil, logs.logger(), fx.Populate(&metrics),
		// The storage needs the registry: this hook is before its own.
		fx.Decorate(func(lc fx.Lifecycle, _ *telemetry.Server, reg prometheus.Registerer) prometheus.Registerer {
			lc.Append(fx.StartHook(func() { close(opening); <-open }))
			return reg
		}))
	started := make(chan error, 1)
	go func() { started <- app.Start(context.Background()) }()
	<-opening
	for path, want := range map[string]int{"/livez": 200, "/metrics": 200, "/startupz": 503, "/readyz": 503} {
		if got, body := get(t, metrics, path); got != want {
			t.Errorf("opening: %s: %d %s", path, got, body)
		}
	}
	close(open)
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	if got, body := get(t, metrics, "/startupz"); got != 200 {
		t.Errorf("open: /startupz: %d %s", got, body)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := app.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func TestAFailedTaskEndsTheProcessWithExitCode1(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	var logs logBuffer
	input := filepath.Join(t.TempDir(), "broken.jsonl")
	if err := os.WriteFile(input, []byte("{\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := parseServer(t, "-i", "10", "--import", input)
	if code := run(Server(cfg, nil, logs.logger()), logs.logger(), patience); code != exitFailure {
		t.Errorf("exit code %d", code)
	}
	if n := strings.Count(logs.String(), " ERROR "); n != 1 || !strings.Contains(logs.String(), "broken.jsonl") {
		t.Errorf("want one error line naming the file:\n%s", logs.String())
	}
}

func TestTasksReportFailuresButNotTheirOwnStop(t *testing.T) {
	defer goleak.VerifyNone(t)
	failures := make(chan error, 4)
	var ts tasks
	broken := errors.New("broken")
	ts.start("canceled", func(ctx context.Context) error { <-ctx.Done(); return fmt.Errorf("wrapped: %w", ctx.Err()) }, func(err error) { failures <- err })
	ts.start("fine", func(ctx context.Context) error { return nil }, func(err error) { failures <- err })
	ts.start("failing", func(ctx context.Context) error { return broken }, func(err error) { failures <- err })
	if err := <-failures; !errors.Is(err, broken) || err.Error() != "failing: broken" {
		t.Errorf("got %v", err)
	}
	if err := ts.stop(t.Context()); err != nil {
		t.Error(err)
	}
	if len(failures) > 0 {
		t.Errorf("also reported: %v", <-failures)
	}

	release := make(chan struct{})
	ts.start("stuck", func(context.Context) error { <-release; return nil }, func(err error) { failures <- err })
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := ts.stop(ctx); err == nil || err.Error() != "stuck did not stop in time" {
		t.Errorf("got %v", err)
	}
	close(release)
}

func TestAPartThatDoesNotStopIsNotWaitedForBeyondTheTimeout(t *testing.T) {
	var logs logBuffer
	release := make(chan struct{})
	defer close(release)
	app := fx.New(fx.NopLogger, fx.Invoke(func(lc fx.Lifecycle, end fx.Shutdowner) {
		lc.Append(fx.Hook{
			OnStart: func(context.Context) error { return end.Shutdown() },
			OnStop:  func(context.Context) error { <-release; return nil },
		})
	}))
	if code := run(app, logs.logger(), 10*time.Millisecond); code != exitFailure || !strings.Contains(logs.String(), "ERROR stopped with an error") {
		t.Errorf("exit code %d:\n%s", code, logs.String())
	}
}
