package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/space"
)

const childVariable = "BENCH_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		if err := Child(context.Background(), os.Stdin, os.Stdout); err != nil {
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

var anyFixed = operation.NewCodec(operation.Any, operation.Fixed)

func options(t testing.TB, scenarios ...string) Options {
	return Options{
		Scenarios: scenarios, Sizes: []int{300}, Codec: anyFixed, BatchSizes: []int{1000},
		Runs: 1, Child: child, TempDir: t.TempDir(),
	}
}

// figuresOf are what each scenario has to tell.
var figuresOf = map[string][]string{
	"cold-sync":   {seconds, operationsRate, valueBytesRate, clientMemory, serverMemory, diskBytes, diskPerOp, reopenSeconds},
	"catch-up":    {seconds, operationsRate, clientMemory, serverMemory},
	"follow":      {seconds, latencyP50, latencyP99, clientMemory, serverMemory},
	"reopen":      {seconds, reopenSeconds, clientMemory},
	"import":      {seconds, operationsRate, valueBytesRate, clientMemory},
	"commit":      {seconds, operationsRate, clientMemory},
	"read":        {seconds, operationsRate, latencyP50, latencyP99, clientMemory},
	"read-absent": {seconds, operationsRate, latencyP50, latencyP99, clientMemory},
	"prove":       {seconds, operationsRate, latencyP50, latencyP99, clientMemory},
	"serve":       {seconds, operationsRate, latencyP50, latencyP99, clientMemory, serverMemory},
	"fsck":        {seconds, operationsRate, clientMemory},
}

func TestEveryScenarioIsMeasured(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		codec operation.Codec
		value int
	}{
		{anyFixed, 0},
		{operation.NewCodec(operation.Any, operation.Variable), 100},
		{operation.NewCodec(operation.Immutable, operation.Fixed), 0},
		{operation.NewCodec(operation.Immutable, operation.Variable), 5},
	} {
		t.Run(tc.codec.String(), func(t *testing.T) {
			t.Parallel()
			o := options(t)
			o.Codec, o.ValueBytes = tc.codec, tc.value
			if tc.codec == anyFixed {
				o.Runs, o.WarmUp, o.BatchSizes = 2, 1, []int{1000, 50}
			} else { // the rest is the same for every family
				o.Scenarios = []string{"cold-sync", "catch-up", "import", "commit", "read", "prove", "serve"}
			}
			r, err := Measure(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			seen := make(map[string]bool)
			for _, x := range r.Results {
				seen[x.Scenario] = true
				if x.Ops != 300 || x.Program != "proofsync" || x.Runs != o.Runs || x.Family+"/"+x.Encoding != tc.codec.String() {
					t.Errorf("%+v", x)
				}
				for _, name := range figuresOf[x.Scenario] {
					f := x.Figures[name]
					if len(f.Values) != o.Runs || f.Min <= 0 || f.Min > f.Median || f.Median > f.Max || f.Unit != units[name] {
						t.Errorf("%s, %s: %+v", x.title(), name, f)
					}
				}
			}
			for name := range figuresOf {
				if want := len(o.Scenarios) == 0 || slices.Contains(o.Scenarios, name); seen[name] != want {
					t.Errorf("%s: measured %t", name, seen[name])
				}
			}
			if left, err := os.ReadDir(o.TempDir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
}

func TestEveryScenarioIsKnownToItsTests(t *testing.T) {
	t.Parallel()
	for _, name := range Scenarios() {
		if figuresOf[name] == nil {
			t.Errorf("%s: no figures are expected of it", name)
		}
	}
}

func TestSizesAreMeasuredOneAfterTheOther(t *testing.T) {
	t.Parallel()
	o := options(t, "cold-sync")
	o.Sizes = []int{1, 70}
	r, err := Measure(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Results) != 2 || r.Results[0].Ops != 1 || r.Results[1].Ops != 70 {
		t.Errorf("%+v", r.Results)
	}
	var table bytes.Buffer
	if err := r.Print(&table); err != nil || !strings.Contains(table.String(), "\n1 random keys, any/fixed") || strings.Count(table.String(), "\n| cold-sync, batch 1000 ") != 2 {
		t.Errorf("%v\n%s", err, &table)
	}
}

// A document as programs expect it: names of members are an interface.
func TestReportAsJSON(t *testing.T) {
	t.Parallel()
	load := 0.5
	r := Report{
		Version: 1, Machine: Machine{2, "linux", "amd64", "go1.26.1", &load}, Proofsync: "v1.2.3",
		Results: []Result{
			{
				Scenario: "cold-sync", Family: "any", Encoding: "fixed", Ops: 10, ValueBytes: 32, Batch: 50, Program: ours, Runs: 2,
				Figures: summarise([]sample{{seconds: 3, diskPerOp: 100}, {seconds: 1}}),
			},
			{Scenario: "cold-sync", Variant: "defaults", Family: "any", Encoding: "fixed", Ops: 10, ValueBytes: 32, Batch: 50, Program: theirs, Error: "gone"},
		},
	}
	got, err := json.Marshal(r)
	const want = `{"version":1,"machine":{"cpus":2,"goos":"linux","goarch":"amd64","go":"go1.26.1","load":0.5},"proofsync":"v1.2.3","results":[` +
		`{"scenario":"cold-sync","family":"any","encoding":"fixed","ops":10,"value_bytes":32,"batch":50,"program":"proofsync","runs":2,` +
		`"figures":{"seconds":{"unit":"s","median":2,"min":1,"max":3,"values":[3,1]}}},` +
		`{"scenario":"cold-sync","variant":"defaults","family":"any","encoding":"fixed","ops":10,"value_bytes":32,"batch":50,"program":"commonware-sync","runs":0,"error":"gone"}]}`
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s\n%s expected", err, got, want)
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

const (
	peerBegins = `printf '\033[2m2026-01-02T03:04:05.000000Z\033[0m \033[32m INFO\033[0m x: starting Any database sync process\n'`
	peerEnds   = `printf '2026-01-02T03:04:06.500000Z  INFO x: Any sync completed successfully sync_iteration=0 root=%s sync_interval=3600s\n'; exec sleep 60`
)

func TestFailingPeerLeavesOtherScenarios(t *testing.T) {
	t.Parallel()
	end := strings.Replace(peerEnds, "%s", strings.Repeat("ab", 32), 1)
	variable := operation.NewCodec(operation.Any, operation.Variable)
	plain := filepath.Join(t.TempDir(), "client")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, peer, reason string
		codec              operation.Codec
	}{
		{"missing", filepath.Join(t.TempDir(), "nothing"), "no such file", anyFixed},
		{"folder without it", t.TempDir(), "client: no such file", anyFixed},
		{"no program", plain, "is no program", anyFixed},
		{"fails", script(t, "echo cannot go on >&2; exit 3"), "it ended before a sync was complete: cannot go on", anyFixed},
		{"no beginning", script(t, end), "not its beginning", anyFixed},
		{"another root", script(t, peerBegins+"\n"+end), "it came to root abab", anyFixed},
		{"another encoding", script(t, ""), "encoding fixed", variable},
	} {
		o := options(t, "cold-sync")
		o.Codec, o.Peer = tc.codec, tc.peer
		r, err := Measure(t.Context(), o)
		if err == nil || err.Error() != "2 of 3 scenarios failed" {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if r.Results[0].Error != "" || r.Results[0].Runs != 1 {
			t.Errorf("%s: %+v", tc.name, r.Results[0])
		}
		for _, peer := range r.Results[1:] {
			if peer.Program != theirs || !strings.Contains(peer.Error, tc.reason) || strings.Contains(peer.Error, "\n") {
				t.Errorf("%s: %+v, %q expected", tc.name, peer, tc.reason)
			}
		}
	}
}

func TestPeerThatComesToTheRootIsCompared(t *testing.T) {
	t.Parallel()
	o := options(t, "cold-sync")
	l, err := newLab(o.withDefaults(), 300)
	if err != nil {
		t.Fatal(err)
	}
	origin, err := l.database(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	end := strings.Replace(peerEnds, "%s", origin.root.String(), 1)
	arguments := filepath.Join(t.TempDir(), "arguments")
	o.Peer = filepath.Dir(script(t, "echo \"$@\" >>"+arguments+"\n"+peerBegins+"\n"+end))
	r, err := Measure(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, peer := range r.Results[1:] {
		if peer.Figures[seconds].Median != 1.5 || peer.Figures[operationsRate].Median != float64(origin.fetched())/1.5 {
			t.Errorf("%+v", peer)
		}
	}
	var table bytes.Buffer
	if err := r.Print(&table); err != nil || !strings.Contains(table.String(), "| times peer's defaults | times peer's best |") {
		t.Errorf("%v\n%s", err, &table)
	}
	asked, err := os.ReadFile(arguments)
	if err != nil || strings.Count(string(asked), "--batch-size 100 --max-outstanding-requests 16") != 1 || strings.Count(string(asked), "\n") != 2 {
		t.Errorf("%v %s", err, asked)
	}
}

func TestOptionsOutOfRangeAreNamed(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Options){
		`scenario "sleep": one of cold-sync, `: func(o *Options) { o.Scenarios = []string{"read", "sleep"} },
		"operations 0":                         func(o *Options) { o.Sizes = []int{0} },
		"operations 1000000001":                func(o *Options) { o.Sizes = []int{5, 1_000_000_001} },
		"no number of operations":              func(o *Options) { o.Sizes = nil },
		"runs 0":                               func(o *Options) { o.Runs = 0 },
		"warm-up -1":                           func(o *Options) { o.WarmUp = -1 },
		"batch size 0":                         func(o *Options) { o.BatchSizes = []int{0} },
		"batch size 10001":                     func(o *Options) { o.BatchSizes = []int{10001} },
		"no batch size":                        func(o *Options) { o.BatchSizes = nil },
		"value size 33: the encoding fixed has values of 32 bytes": func(o *Options) { o.ValueBytes = 33 },
		"value size 65537: 1 to 65536":                             func(o *Options) { o.ValueBytes, o.Codec = 65537, operation.NewCodec(operation.Any, operation.Variable) },
		"value size -1: the encoding fixed has values of 32 bytes": func(o *Options) { o.ValueBytes = -1 },
		"value size -1: 1 to 65536":                                func(o *Options) { o.ValueBytes, o.Codec = -1, operation.NewCodec(operation.Any, operation.Variable) },
		"cache size -1":                                            func(o *Options) { o.CacheBytes = -1 },
	} {
		o := options(t)
		change(&o)
		if _, err := Measure(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, %q expected", err, want)
		}
	}
}

func TestScenarioWithoutRoomIsLeftOut(t *testing.T) {
	t.Parallel()
	o := options(t, "cold-sync", "read", "fsck")
	o.Sizes, o.Runs = []int{300}, 1
	full := false
	o.Space = func(string) (space.Usage, error) {
		defer func() { full = true }() // there is room for the database, and nothing else
		if full {
			return space.Usage{Free: 1 << 30, Total: 1 << 40}, nil
		}
		return space.Usage{Free: 1 << 40, Total: 1 << 41}, nil
	}
	r, err := Measure(t.Context(), o)
	if err == nil || err.Error() != "1 of 4 scenarios failed" {
		t.Fatalf("%v %+v", err, r)
	}
	for _, x := range r.Results {
		if failed := x.Scenario == "cold-sync"; failed != (x.Error != "") || failed && (!strings.Contains(x.Error, "would be needed below") || strings.Contains(x.Error, "\n")) {
			t.Errorf("%s: error %q", x.title(), x.Error)
		}
	}
}

func TestBrokenChildIsReported(t *testing.T) {
	t.Parallel()
	o := options(t, "cold-sync", "fsck")
	o.Child = func(ctx context.Context) *exec.Cmd {
		return exec.CommandContext(ctx, "/bin/sh", "-c", "echo out of order >&2; exit 7")
	}
	r, err := Measure(t.Context(), o)
	if err == nil || err.Error() != "2 of 2 scenarios failed" {
		t.Fatal(err)
	}
	for _, x := range r.Results {
		if x.Error != "database: exit status 7: out of order" {
			t.Errorf("%s: error %q", x.title(), x.Error)
		}
	}
}

func TestInterruptedMeasurementLeavesNothing(t *testing.T) {
	t.Parallel()
	o := options(t, "cold-sync", "follow", "read")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	started := 0
	o.Child = func(ctx context.Context) *exec.Cmd {
		if started++; started == 5 { // the server that the replica of the second scenario syncs from
			cancel()
		}
		return child(ctx)
	}
	r, err := Measure(ctx, o)
	if err == nil || ctx.Err() == nil || len(r.Results) != 1 || r.Results[0].Scenario != "cold-sync" {
		t.Errorf("%v %+v", err, r)
	}
	if left, err := os.ReadDir(o.TempDir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestProfilesOfEveryProcess(t *testing.T) {
	t.Parallel()
	o := options(t, "cold-sync")
	o.Profile = filepath.Join(t.TempDir(), "profiles")
	if _, err := Measure(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for _, process := range []string{"server-1", "replica-1", "database-1"} {
		for _, kind := range []string{"cpu", "allocs", "block"} {
			info, err := os.Stat(filepath.Join(o.Profile, "cold-sync-batch-1000-300-"+process+"."+kind+".pprof"))
			if err != nil || info.Size() == 0 {
				t.Errorf("%s of %s: %v", kind, process, err)
			}
		}
	}
}
