package bench

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// The scenarios of proofsync bench as benchmarks of the go command, to compare two
// versions with benchstat:
//
//	go test ./pkg/bench -run '^$' -bench . -count 10 >old.txt
//
// PROOFSYNC_BENCH_OPS is the number of keys, PROOFSYNC_BENCH_PROFILE a folder for
// profiles of the processes (those of the go command would be of the parent, which
// only waits). ns/op is the measured time of a run, and not what it takes to start
// processes for it.

// benchOps is small enough for every scenario at once in a minute or two.
const benchOps = 50_000

func benchmarkOptions(b *testing.B) Options {
	b.Helper()
	o := options(b)
	o.Sizes, o.BatchSizes, o.Profile = []int{benchOps}, []int{10_000, 50}, os.Getenv("PROOFSYNC_BENCH_PROFILE")
	if text := os.Getenv("PROOFSYNC_BENCH_OPS"); text != "" {
		ops, err := strconv.Atoi(text)
		if err != nil {
			b.Fatalf("PROOFSYNC_BENCH_OPS: %v", err)
		}
		o.Sizes[0] = ops
	}
	if err := o.Validate(); err != nil {
		b.Fatal(err)
	}
	return o.withDefaults()
}

func BenchmarkScenario(b *testing.B) {
	o := benchmarkOptions(b)
	l, err := newLab(o, o.Sizes[0])
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := l.close(); err != nil {
			b.Error(err)
		}
	}()
	for _, v := range o.variants() {
		b.Run(fileName(v.title()), func(b *testing.B) { benchmarkVariant(b, l, v) })
	}
}

func benchmarkVariant(b *testing.B, l *lab, v variant) {
	b.Helper()
	s := newSession(l, v.title())
	defer func() {
		if err := s.close(); err != nil {
			b.Error(err)
		}
	}()
	once, err := v.begin(b.Context(), s)
	if err != nil {
		b.Fatal(err)
	}
	var samples []sample
	for b.Loop() {
		one, err := once(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		samples = append(samples, one)
	}
	for name, f := range summarise(samples) {
		if name == seconds {
			b.ReportMetric(f.Median*float64(time.Second), "ns/op")
			continue
		}
		b.ReportMetric(f.Median, name)
	}
}
