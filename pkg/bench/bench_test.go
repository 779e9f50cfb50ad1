package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/proofsync/proofsync/pkg/bench"
	"github.com/proofsync/proofsync/pkg/operation"
)

const childVariable = "BENCH_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		if err := bench.Child(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func child(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0])
	// The race detector lets every process wait for a second at its end.
	cmd.Env = append(os.Environ(), childVariable+"=1", "GORACE=atexit_sleep_ms=0")
	return cmd
}

func options(t *testing.T) bench.Options {
	return bench.Options{
		Ops: 300, Codec: operation.NewCodec(operation.Any, operation.Fixed), BatchSizes: []int{50, 1000},
		Runs: 1, Child: child, TempDir: t.TempDir(),
	}
}

func TestColdSyncIsMeasuredInEveryFamilyAndEncoding(t *testing.T) {
	for _, codec := range []operation.Codec{
		operation.NewCodec(operation.Any, operation.Fixed), operation.NewCodec(operation.Any, operation.Variable),
		operation.NewCodec(operation.Immutable, operation.Fixed), operation.NewCodec(operation.Immutable, operation.Variable),
	} {
		o := options(t)
		o.Codec, o.Runs = codec, 2
		r, err := bench.Measure(t.Context(), o)
		if err != nil {
			t.Fatalf("%s: %v", codec, err)
		}
		if r.Writes != 300 || r.Size <= 300 || len(r.Scenarios) != 2 {
			t.Errorf("%s: %+v", codec, r)
		}
		for _, s := range r.Scenarios {
			if len(s.Runs) != 2 || s.OpsPerSecond <= 0 || s.BytesPerSec <= 0 || s.Reopen <= 0 || s.DiskPerOp <= 0 {
				t.Errorf("%s: %+v", codec, s)
			}
			for _, run := range s.Runs {
				if run.Root != r.Root || run.Operations != r.Fetched() {
					t.Errorf("%s: %+v", codec, run)
				}
			}
		}
		var table bytes.Buffer
		if err := r.Print(&table); err != nil || !strings.Contains(table.String(), "| proofsync, batch size 1000 |") {
			t.Errorf("%v\n%s", err, &table)
		}
		if _, err := json.Marshal(r); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(o.TempDir); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	}
}

// A script in the place of a peer: it says what a client says, at once.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "client")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFailingPeerLeavesOtherScenarios(t *testing.T) {
	const begin = `printf '\033[2m2026-01-02T03:04:05.000000Z\033[0m \033[32m INFO\033[0m x: starting Any database sync process\n'`
	end := `printf '2026-01-02T03:04:06.500000Z  INFO x: Any sync completed successfully sync_iteration=0 root=` + strings.Repeat("ab", 32) + ` sync_interval=3600s\n'; exec sleep 60`
	variable := operation.NewCodec(operation.Any, operation.Variable)
	for _, tc := range []struct {
		name, peer, reason string
		codec              operation.Codec
	}{
		{"missing", filepath.Join(t.TempDir(), "nothing"), "no such file", operation.Codec{}},
		{"fails", script(t, "echo cannot go on >&2; exit 3"), "it ended before a sync was complete: cannot go on", operation.Codec{}},
		{"no beginning", script(t, end), "not its beginning", operation.Codec{}},
		{"another root", script(t, begin+"\n"+end), "client ended at root abab", operation.Codec{}},
		{"another encoding", script(t, ""), "encoding fixed", variable},
	} {
		o := options(t)
		o.BatchSizes, o.Peer = []int{100}, tc.peer
		if tc.codec == variable {
			o.Codec = variable
		}
		r, err := bench.Measure(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), "1 of 2 scenarios failed") {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if ours, peer := r.Scenarios[0], r.Scenarios[1]; ours.Error != "" || len(ours.Runs) != 1 || !strings.Contains(peer.Error, tc.reason) {
			t.Errorf("%s: %+v, %q expected", tc.name, r.Scenarios, tc.reason)
		}
	}
}

func TestOptionsOutOfRangeAreNamed(t *testing.T) {
	for want, change := range map[string]func(*bench.Options){
		"operations 0":        func(o *bench.Options) { o.Ops = 0 },
		"runs 0":              func(o *bench.Options) { o.Runs = 0 },
		"batch size 0":        func(o *bench.Options) { o.BatchSizes = []int{0} },
		"batch size 10001":    func(o *bench.Options) { o.BatchSizes = []int{10001} },
		"nothing to measure:": func(o *bench.Options) { o.BatchSizes = nil },
	} {
		o := options(t)
		change(&o)
		if _, err := bench.Measure(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, %q expected", err, want)
		}
	}
}

func TestBrokenChildIsReported(t *testing.T) {
	o := options(t)
	o.Child = func(ctx context.Context) *exec.Cmd {
		return exec.CommandContext(ctx, "/bin/sh", "-c", "echo out of order >&2; exit 7")
	}
	r, err := bench.Measure(t.Context(), o)
	if err == nil || r == nil || !strings.Contains(r.Scenarios[0].Error, "out of order") {
		t.Errorf("%v %+v", err, r)
	}
}
