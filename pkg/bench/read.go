package bench

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
)

// proveBatch is how many operations a proof and a served request are about: what
// a replica asks for unless it is told otherwise.
const proveBatch = 50

// timedOne of so many reads is timed by itself: looking at a clock takes as long
// as a hundredth of a read.
const timedOne = 8

// numbers are the keys of a step "update".
func (l *local) numbers(s step) func(i int) uint64 {
	if l.job.codec.Family() == operation.Immutable {
		return func(i int) uint64 { return s.Keys + s.First + uint64(i) }
	}
	order := newShuffle(s.Keys)
	return func(i int) uint64 { return order.at(s.First + uint64(i)) }
}

// check reads back what a step "update" of the same fields has written, a
// thousand keys of it.
func (l *local) check(s step) (a answer, err error) {
	v, err := l.db.View()
	if err != nil {
		return a, err
	}
	defer v.Close()
	number := l.numbers(s)
	var key, value []byte
	for i := 0; i < s.Count; i += max(1, s.Count/1000) {
		n := number(i)
		key, value = appendKey(key[:0], n), appendValue(value[:0], n, s.Version, l.job.ValueBytes)
		e, err := v.Get(key)
		if err != nil {
			return a, fmt.Errorf("key %d: %w", n, err)
		}
		if !bytes.Equal(e.Value, value) {
			return a, fmt.Errorf("key %d has another value than was written", n)
		}
	}
	return l.state()
}

// read gets Count random keys of Keys, in Tasks goroutines, each value compared;
// with Absent, keys that were never written. First makes runs differ.
func (l *local) read(s step) (a answer, err error) {
	v, err := l.db.View()
	if err != nil {
		return a, err
	}
	defer v.Close()
	each := s.Count / s.Tasks
	type task struct {
		keys, values []byte
		times        []float64
		err          error
	}
	tasks := make([]task, s.Tasks)
	order := newShuffle(s.Keys)
	for t := range tasks { // ahead of the clock
		w := &tasks[t]
		w.times = make([]float64, 0, each/timedOne+1)
		for i := range each {
			n := order.at(s.First + uint64(t*each+i))
			if s.Absent {
				w.keys = appendKey(w.keys, absentKeys+n)
				continue
			}
			w.keys, w.values = appendKey(w.keys, n), appendValue(w.values, n, 0, l.job.ValueBytes)
		}
	}
	one := func(w *task, i int) error {
		e, err := v.Get(w.keys[i*keyBytes : (i+1)*keyBytes])
		switch {
		case s.Absent && errors.Is(err, database.ErrKeyNotFound):
			return nil
		case s.Absent:
			return fmt.Errorf("a key that was never written: %w", err)
		case err != nil:
			return err
		case !bytes.Equal(e.Value, w.values[i*l.job.ValueBytes:(i+1)*l.job.ValueBytes]):
			return errors.New("a key has another value than was written")
		}
		return nil
	}
	watch := startWatch()
	var running sync.WaitGroup
	for t := range tasks {
		running.Go(func() {
			w := &tasks[t]
			for i := 0; i < each && w.err == nil; i++ {
				if i%timedOne != 0 {
					w.err = one(w, i)
					continue
				}
				began := time.Now()
				w.err = one(w, i)
				w.times = append(w.times, time.Since(began).Seconds())
			}
		})
	}
	running.Wait()
	watch.stop(&a)
	var times []float64
	for _, w := range tasks {
		err = errors.Join(err, w.err)
		times = append(times, w.times...)
	}
	a.Operations = uint64(each * s.Tasks)
	a.P50, a.P99 = quantile(times, 0.50), quantile(times, 0.99)
	return a, err
}

// prove proves Count random ranges of proveBatch operations against the newest
// state, and verifies some of the proofs afterwards.
func (l *local) prove(s step) (a answer, err error) {
	v, err := l.db.View()
	if err != nil {
		return a, err
	}
	defer v.Close()
	first := max(v.Start(), v.Floor())
	length := min(proveBatch, v.Size()-first)
	order := newShuffle(v.Size() - first - length + 1)
	times := make([]float64, s.Count)
	kept := make(map[uint64]mmr.Proof)
	watch := startWatch()
	for i := range s.Count {
		began := time.Now()
		start := first + order.at(s.First+uint64(i))
		p, err := v.Prove(v.Size(), start, start+length)
		if err != nil {
			return a, err
		}
		if times[i] = time.Since(began).Seconds(); i%(1+s.Count/16) == 0 {
			kept[start] = p
		}
	}
	watch.stop(&a)
	for start, p := range kept {
		ops, n, err := v.AppendOperations(nil, start, start+length, 1<<30)
		if err != nil {
			return a, err
		}
		run, _, err := l.job.codec.Split(ops, n)
		if err != nil {
			return a, err
		}
		if err := p.Verify(mmr.HashSpan(start, run), v.Root()); err != nil {
			return a, fmt.Errorf("proof of [%d, %d): %w", start, start+length, err)
		}
	}
	a.Operations = uint64(s.Count) * length
	a.P50, a.P99 = quantile(times, 0.50), quantile(times, 0.99)
	return a, nil
}
