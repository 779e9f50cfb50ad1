package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// coldSyncs: an empty replica, from the start of its sync to the root readable
// and on disk; then its memory, its reopening after a clean stop, and its disk
// space once tables are merged.
func coldSyncs(o Options) []variant {
	var all []variant
	for _, batch := range o.BatchSizes {
		all = append(all, variant{batch: batch, begin: func(ctx context.Context, s *session) (run, error) {
			origin, err := s.database(ctx)
			return func(ctx context.Context) (sample, error) {
				return s.within(func(s *session) (sample, error) { return coldSync(ctx, s, origin, batch) })
			}, err
		}})
	}
	if o.Peer != "" {
		all = append(all, peerSyncs()...)
	}
	return all
}

func coldSync(ctx context.Context, s *session, origin *prepared, batch int) (sample, error) {
	server, up, err := s.start(ctx, job{Role: "server", Dir: origin.dir})
	if err != nil {
		return nil, err
	}
	client, a, dir, err := s.synced(ctx, up.Addr, batch, origin)
	if err != nil {
		return nil, err
	}
	result := s.rates(a, a.Operations)
	result[clientMemory] = float64(a.PeakMemory)
	if a, err = server.do(step{Do: "look"}); err != nil {
		return nil, err
	}
	result[serverMemory] = float64(a.PeakMemory)
	if err := errors.Join(server.end(), client.end()); err != nil {
		return nil, err
	}
	client, a, err = s.start(ctx, job{Role: "database", Dir: dir})
	if err != nil {
		return nil, err
	}
	result[reopenSeconds] = a.Seconds
	if err := origin.equal(a); err != nil {
		return nil, fmt.Errorf("after reopening: %w", err)
	}
	if a, err = client.do(step{Do: "settle"}); err != nil {
		return nil, err
	}
	result[diskBytes] = float64(a.Disk)
	result[diskPerOp] = float64(a.Disk) / float64(origin.fetched())
	return result, client.end()
}

// synced starts a replica in a directory of its own and has it sync once.
func (s *session) synced(ctx context.Context, addr string, batch int, origin *prepared) (client *process, a answer, dir string, err error) {
	if dir, err = s.temp(); err != nil {
		return nil, a, "", err
	}
	if client, _, err = s.start(ctx, job{Role: "replica", Dir: dir, Addr: addr, BatchSize: batch}); err != nil {
		return nil, a, "", err
	}
	if a, err = client.do(step{Do: "sync"}); err != nil {
		return nil, a, "", err
	}
	if err = origin.equal(a); err == nil && a.Operations != origin.fetched() {
		err = fmt.Errorf("%d operations were fetched: %d expected", a.Operations, origin.fetched())
	}
	return client, a, dir, err
}

// rates are the figures that follow from an answer about so many operations.
func (s *session) rates(a answer, operations uint64) sample {
	return sample{
		seconds: a.Seconds, cpuSeconds: a.CPU,
		operationsRate: float64(operations) / a.Seconds,
		valueBytesRate: float64(operations) * float64(s.o.ValueBytes) / a.Seconds,
	}
}

// reopens: opening a replica in a new process until its root can be read, after a
// sync and a clean stop, and after a sync and the process being killed at once.
func reopens(o Options) []variant {
	var all []variant
	batch := slices.Max(o.BatchSizes)
	for _, how := range []string{"clean", "kill"} {
		all = append(all, variant{name: how, begin: func(ctx context.Context, s *session) (run, error) {
			origin, err := s.database(ctx)
			return func(ctx context.Context) (sample, error) {
				return s.within(func(s *session) (sample, error) { return reopen(ctx, s, origin, batch, how == "kill") })
			}, err
		}})
	}
	return all
}

func reopen(ctx context.Context, s *session, origin *prepared, batch int, kill bool) (sample, error) {
	server, up, err := s.start(ctx, job{Role: "server", Dir: origin.dir})
	if err != nil {
		return nil, err
	}
	client, _, dir, err := s.synced(ctx, up.Addr, batch, origin)
	if err != nil {
		return nil, err
	}
	if kill {
		client.kill()
	}
	if err := errors.Join(client.end(), server.end()); err != nil {
		return nil, err
	}
	client, a, err := s.start(ctx, job{Role: "database", Dir: dir})
	if err != nil {
		return nil, err
	}
	if err := origin.equal(a); err != nil {
		return nil, fmt.Errorf("after reopening: %w", err)
	}
	return sample{seconds: a.Seconds, reopenSeconds: a.Seconds, cpuSeconds: a.CPU, clientMemory: float64(a.PeakMemory)}, client.end()
}

// How much is written in the scenarios that follow a writer.
const (
	catchUpWrites = 10_000
	followWrites  = 5
	followCommits = 100 // a run
)

// catchUps: a replica that follows, and one commit of many changes: from the
// target being known to the replica to its root being readable.
func catchUps(o Options) []variant {
	var all []variant
	for _, batch := range o.BatchSizes {
		all = append(all, variant{batch: batch, begin: func(ctx context.Context, s *session) (run, error) {
			f, err := newFollowed(ctx, s, batch)
			return func(context.Context) (sample, error) {
				a, writes, err := f.commit(min(catchUpWrites, within(256<<20, s.o.ValueBytes, s.ops)))
				if err != nil {
					return nil, err
				}
				result := s.rates(a, uint64(writes))
				return result, f.memory(result, a)
			}, err
		}})
	}
	return all
}

// follows: the same for small commits, one after the other. The figure of a run
// is the median of its commits.
func follows(Options) []variant {
	const batch = 50 // the default of the program
	return []variant{{batch: batch, begin: func(ctx context.Context, s *session) (run, error) {
		f, err := newFollowed(ctx, s, batch)
		return func(ctx context.Context) (sample, error) {
			var last answer
			var times []float64
			var cpu float64
			for range followCommits {
				a, _, err := f.commit(min(followWrites, s.ops))
				if err != nil {
					return nil, err
				}
				last, times, cpu = a, append(times, a.Seconds), cpu+a.CPU
			}
			p50 := median(times)
			result := sample{seconds: p50, latencyP50: p50, latencyP99: quantile(times, 0.99), cpuSeconds: cpu / followCommits}
			return result, f.memory(result, last)
		}, err
	}}}
}

// followed is a server that commits, and a replica that follows it.
type followed struct {
	session         *session
	server, replica *process
	version, done   uint64 // commits, and writes in them
}

func newFollowed(ctx context.Context, s *session, batch int) (*followed, error) {
	origin, err := s.database(ctx)
	if err != nil {
		return nil, err
	}
	synced, err := s.lab.replica(ctx)
	if err != nil {
		return nil, err
	}
	serverDir, err := s.copyOf(ctx, origin)
	if err != nil {
		return nil, err
	}
	replicaDir, err := s.copyOf(ctx, synced)
	if err != nil {
		return nil, err
	}
	f := &followed{session: s}
	var up answer
	if f.server, up, err = s.start(ctx, job{Role: "server", Dir: serverDir}); err != nil {
		return nil, err
	}
	if f.replica, _, err = s.start(ctx, job{Role: "replica", Dir: replicaDir, Addr: up.Addr, BatchSize: batch}); err != nil {
		return nil, err
	}
	a, err := f.replica.do(step{Do: "follow"})
	if err != nil {
		return nil, err
	}
	return f, origin.equal(a)
}

// commit has the server commit changes of random keys, and waits for the replica.
func (f *followed) commit(count int) (a answer, writes int, err error) {
	f.version++
	c, err := f.server.do(step{Do: "update", First: f.done, Count: count, Keys: uint64(f.session.ops), Version: f.version})
	if err != nil {
		return a, 0, err
	}
	f.done += uint64(count)
	if a, err = f.replica.do(step{Do: "await", Size: c.Size}); err != nil {
		return a, 0, err
	}
	if a.Size != c.Size || a.Root != c.Root {
		err = fmt.Errorf("the replica has %d operations and root %s, the server %d and %s", a.Size, a.Root, c.Size, c.Root)
	}
	return a, count, err
}

// memory adds the memory of both processes.
func (f *followed) memory(result sample, a answer) error {
	result[clientMemory] = float64(a.PeakMemory)
	look, err := f.server.do(step{Do: "look"})
	result[serverMemory] = float64(look.PeakMemory)
	return err
}
