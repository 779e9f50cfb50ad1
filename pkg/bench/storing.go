package bench

import (
	"context"
	"errors"
	"fmt"
)

// imports: all keys into a new database, in durable commits: from JSON Lines, and
// from memory. Either way it has to become the database that was prepared.
func imports(o Options) []variant {
	one := func(name string, begin func(ctx context.Context, s *session) (step, error)) variant {
		return variant{name: name, batch: fillBatch(o.ValueBytes), begin: func(ctx context.Context, s *session) (run, error) {
			origin, err := s.database(ctx)
			if err != nil {
				return nil, err
			}
			todo, err := begin(ctx, s)
			return func(ctx context.Context) (sample, error) {
				return s.within(func(s *session) (sample, error) { return imported(ctx, s, origin, todo) })
			}, err
		}}
	}
	return []variant{
		one("jsonl", func(ctx context.Context, s *session) (step, error) {
			path, err := s.lines(ctx)
			return step{Do: "import", Path: path, Count: s.ops}, err
		}),
		one("memory", func(_ context.Context, s *session) (step, error) {
			return step{Do: "fill", Count: s.ops}, nil
		}),
	}
}

func imported(ctx context.Context, s *session, origin *prepared, todo step) (sample, error) {
	dir, err := s.temp()
	if err != nil {
		return nil, err
	}
	child, _, err := s.start(ctx, job{Role: "database", Dir: dir, Create: true})
	if err != nil {
		return nil, err
	}
	a, err := child.do(todo)
	if err != nil {
		return nil, err
	}
	result := s.rates(a, uint64(s.ops))
	result[clientMemory] = float64(a.PeakMemory)
	return result, errors.Join(origin.equal(a), child.end())
}

// commitWrites are how many keys the scenario commit changes at once.
const commitWrites = 100_000

// commits: random updates of a large key set, in one durable commit; one after
// the other in one process, as a writer would. In an immutable log they are new
// keys.
func commits(Options) []variant {
	return []variant{{begin: func(ctx context.Context, s *session) (run, error) {
		origin, err := s.database(ctx)
		if err != nil {
			return nil, err
		}
		dir, err := s.copyOf(ctx, origin)
		if err != nil {
			return nil, err
		}
		child, a, err := s.start(ctx, job{Role: "database", Dir: dir})
		if err != nil {
			return nil, err
		}
		todo := step{Do: "update", Keys: uint64(s.ops), Count: within(256<<20, s.o.ValueBytes, min(commitWrites, s.ops))}
		size := a.Size
		return func(context.Context) (sample, error) {
			todo.Version++
			done, err := child.do(todo)
			if err != nil {
				return nil, err
			}
			todo.Do = "check"
			seen, err := child.do(todo)
			if err != nil {
				return nil, err
			}
			todo.Do = "update"
			todo.First += uint64(todo.Count)
			if seen.Size != done.Size || seen.Root != done.Root || done.Size < size+uint64(todo.Count)+1 {
				return nil, fmt.Errorf("a commit of %d writes to %d operations led to %d and root %s, and %d and %s can be read",
					todo.Count, size, done.Size, done.Root, seen.Size, seen.Root)
			}
			size = done.Size
			result := s.rates(done, uint64(todo.Count))
			result[clientMemory] = float64(seen.PeakMemory)
			return result, nil
		}, nil
	}}}
}

// Bounds of how often a run reads or proves.
const (
	readMost  = 200_000
	proveMost = 20_000
	askMost   = 200_000
)

// reads: random keys, one by one, each value compared. The first run of a process
// warms its cache, and does not count.
func reads(scenario string, absent bool) []variant {
	var all []variant
	for _, tasks := range []int{1, 2} {
		name := "1 goroutine"
		if tasks > 1 {
			name = fmt.Sprintf("%d goroutines", tasks)
		}
		all = append(all, variant{scenario: scenario, name: name, begin: func(ctx context.Context, s *session) (run, error) {
			return s.repeated(ctx, step{Do: "read", Keys: uint64(s.ops), Count: max(tasks, min(readMost, s.ops)), Tasks: tasks, Absent: absent})
		}})
	}
	return all
}

// proves: proofs of random ranges of 50 operations against the newest root. An
// operation that is proven counts as one.
func proves(Options) []variant {
	return []variant{{batch: proveBatch, begin: func(ctx context.Context, s *session) (run, error) {
		return s.repeated(ctx, step{Do: "prove", Count: max(16, min(proveMost, s.ops))})
	}}}
}

// repeated does the same step again and again in one process with the prepared
// database, from another place each time, once before the first run.
func (s *session) repeated(ctx context.Context, todo step) (run, error) {
	origin, err := s.database(ctx)
	if err != nil {
		return nil, err
	}
	child, a, err := s.start(ctx, job{Role: "database", Dir: origin.dir})
	if err != nil {
		return nil, err
	}
	if err := origin.equal(a); err != nil {
		return nil, err
	}
	once := func(context.Context) (sample, error) {
		a, err := child.do(todo)
		if err != nil {
			return nil, err
		}
		todo.First += uint64(todo.Count)
		result := s.rates(a, a.Operations)
		delete(result, valueBytesRate)
		result[latencyP50], result[latencyP99], result[clientMemory] = a.P50, a.P99, float64(a.PeakMemory)
		return result, nil
	}
	_, err = once(ctx)
	return once, err
}

// checks: everything there is in the directory is read and computed anew.
func checks(Options) []variant {
	return []variant{{begin: func(ctx context.Context, s *session) (run, error) {
		origin, err := s.database(ctx)
		return func(ctx context.Context) (sample, error) {
			return s.within(func(s *session) (sample, error) {
				child, _, err := s.start(ctx, job{Role: "fsck", Dir: origin.dir})
				if err != nil {
					return nil, err
				}
				a, err := child.do(step{Do: "check", Size: origin.size, Root: origin.root})
				if err != nil {
					return nil, err
				}
				result := s.rates(a, a.Operations)
				result[clientMemory] = float64(a.PeakMemory)
				return result, child.end()
			})
		}, err
	}}}
}

// serves: many connections that pipeline requests of 50 operations to one server,
// from a process that only looks at the frames of the answers.
func serves(Options) []variant {
	var all []variant
	for _, connections := range []int{64, 256} {
		all = append(all, variant{
			name: fmt.Sprintf("%d connections", connections), batch: proveBatch,
			begin: func(ctx context.Context, s *session) (run, error) { return served(ctx, s, connections) },
		})
	}
	return all
}

func served(ctx context.Context, s *session, connections int) (run, error) {
	origin, err := s.database(ctx)
	if err != nil {
		return nil, err
	}
	server, up, err := s.start(ctx, job{Role: "server", Dir: origin.dir})
	if err != nil {
		return nil, err
	}
	client, _, err := s.start(ctx, job{Role: "load", Addr: up.Addr})
	if err != nil {
		return nil, err
	}
	todo := step{
		Do: "load", Tasks: connections, Size: origin.size, First: origin.start, Root: origin.root,
		Count: within(16<<30/proveBatch, s.o.ValueBytes, min(askMost, s.ops)),
	}
	once := func(context.Context) (sample, error) {
		before, err := server.do(step{Do: "look"})
		if err != nil {
			return nil, err
		}
		a, err := client.do(todo)
		if err != nil {
			return nil, err
		}
		after, err := server.do(step{Do: "look"})
		if err != nil {
			return nil, err
		}
		if after.Root != before.Root || after.Root != origin.root {
			return nil, errors.New("the server's log has changed")
		}
		result := s.rates(a, a.Operations)
		result[cpuSeconds] = after.CPU // the server's, since it was looked at before
		result[latencyP50], result[latencyP99] = a.P50, a.P99
		result[clientMemory], result[serverMemory] = float64(a.PeakMemory), float64(after.PeakMemory)
		return result, nil
	}
	return once, nil
}
