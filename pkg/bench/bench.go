package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// Measure runs every variant of every scenario in turn. One that fails says so in
// its result, and the others still run; the error then says how many failed. The
// report is nil only with an error of Validate, or of making the folder for
// profiles; when ctx ends, or a directory cannot be made or removed, it has what
// was measured until then, beside the error.
func Measure(ctx context.Context, o Options) (*Report, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	if o.Profile != "" {
		if err := os.MkdirAll(o.Profile, 0o755); err != nil {
			return nil, fmt.Errorf("folder for profiles: %w", err)
		}
	}
	r := newReport()
	failed := 0
	for _, ops := range o.Sizes {
		l, err := newLab(o, ops)
		if err != nil {
			return r, err
		}
		for _, v := range o.variants() {
			result, err := l.measure(ctx, v)
			if ctx.Err() != nil { // what it failed with is of no interest
				return r, errors.Join(ctx.Err(), l.close())
			}
			if err != nil {
				failed++
				result.Error = strings.ReplaceAll(err.Error(), "\n", "; ")
				o.Logger.Error("scenario failed", "scenario", v.title(), "ops", ops, "error", result.Error)
			}
			r.Results = append(r.Results, result)
		}
		if err := l.close(); err != nil {
			return r, err
		}
	}
	if failed > 0 {
		return r, fmt.Errorf("%d of %d scenarios failed", failed, len(r.Results))
	}
	return r, nil
}

func newLab(o Options, ops int) (*lab, error) {
	dir, err := os.MkdirTemp(o.TempDir, "proofsync-bench-*")
	if err != nil {
		return nil, err
	}
	return &lab{o: o, ops: ops, dir: dir, counts: make(map[string]int)}, nil
}

func (l *lab) close() error { return os.RemoveAll(l.dir) }

// measure measures one variant.
func (l *lab) measure(ctx context.Context, v variant) (r Result, err error) {
	r = Result{
		Scenario: v.scenario, Variant: v.name, Family: l.o.Codec.Family().String(), Encoding: l.o.Codec.Encoding().String(),
		Ops: l.ops, ValueBytes: l.o.ValueBytes, Batch: v.batch, Program: v.program,
	}
	s := newSession(l, v.title())
	defer func() { err = errors.Join(err, s.close()) }()
	began := time.Now()
	once, err := v.begin(ctx, s)
	if err != nil {
		return r, err
	}
	l.o.Logger.Debug("scenario prepared", "scenario", v.title(), "ops", l.ops, "duration", time.Since(began).Round(time.Millisecond))
	began = time.Now()
	var samples []sample
	all := l.o.WarmUp + l.o.Runs
	for i := range all {
		one, err := once(ctx)
		if err != nil {
			return r, err
		}
		if one[seconds] <= 0 {
			return r, errors.New("a run that took no time has measured nothing")
		}
		warm := i < l.o.WarmUp
		if !warm {
			samples = append(samples, one)
		}
		l.o.Logger.Info("run completed", "scenario", v.title(), "ops", l.ops, "run", i+1, "of", all, "warm_up", warm,
			"seconds", fmt.Sprintf("%.4f", one[seconds]), "eta", left(began, i+1, all))
	}
	r.Runs, r.Figures = len(samples), summarise(samples)
	return r, nil
}
