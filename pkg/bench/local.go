package bench

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/importer"
	"github.com/proofsync/proofsync/pkg/space"
	"github.com/proofsync/proofsync/pkg/store"
)

// local is a child with a database, opened as the programs open theirs.
type local struct {
	job job
	db  *database.DB
	reg *prometheus.Registry
	w   writer
}

// newLocal answers with the time until the newest state could be read, and that
// state.
func newLocal(_ context.Context, j job) (worker, answer, error) {
	l, a, err := openLocal(j)
	if err != nil {
		return nil, a, err
	}
	return l, a, nil
}

func openLocal(j job) (*local, answer, error) {
	l := &local{job: j, reg: prometheus.NewRegistry(), w: writer{valueBytes: j.ValueBytes}}
	watch := startWatch()
	var err error
	l.db, err = database.Open(j.Dir, database.Options{
		Codec: j.codec, CreateIfMissing: j.Create, CacheBytes: j.CacheBytes,
		Space: space.New(space.Options{
			Floor: space.Floor{Auto: true}, Path: j.Dir,
			Measure: func() (space.Usage, error) {
				free, total, err := store.DiskUsage(nil, j.Dir)
				return space.Usage{Free: free, Total: total}, err
			},
		}),
	})
	if err != nil {
		return nil, answer{}, err
	}
	a, err := l.state()
	watch.stop(&a)
	if err == nil {
		err = l.reg.Register(l.db.Collector())
	}
	if err != nil {
		return nil, a, errors.Join(err, l.db.Close())
	}
	return l, a, nil
}

func (l *local) close() error { return l.db.Close() }

// state is the newest one that can be read; none is no error.
func (l *local) state() (a answer, err error) {
	v, err := l.db.View()
	if errors.Is(err, database.ErrEmpty) {
		return a, nil
	}
	if err != nil {
		return a, err
	}
	defer v.Close()
	return answer{Size: v.Size(), Start: max(v.Floor(), v.Start()), Root: v.Root()}, nil
}

func (l *local) do(ctx context.Context, s step) (a answer, err error) {
	switch s.Do {
	case "look":
		return l.state()
	case "fill":
		return l.fill(ctx, s)
	case "import":
		return l.importFile(ctx, s)
	case "update":
		return l.update(ctx, s)
	case "check":
		return l.check(s)
	case "read":
		return l.read(s)
	case "prove":
		return l.prove(s)
	case "settle":
		return l.settle(ctx)
	}
	return a, errors.New("unknown step")
}

// fill writes the keys from First on, Count of them, in commits of fillBatch, as many
// together as an import does, the next of which are made and prepared meanwhile. The
// clock is that of making and applying batches.
func (l *local) fill(ctx context.Context, s step) (a answer, err error) {
	watch := startWatch()
	most := fillBatch(l.job.ValueBytes)
	size := max(most, within(importer.MaxBytes, l.job.ValueBytes, importer.Together*most))
	group, ctx := errgroup.WithContext(ctx)
	ready := make(chan *database.Prepared)
	group.Go(func() error {
		defer close(ready)
		for done := 0; done < s.Count; done += size {
			first := s.First + uint64(done)
			w := writer{valueBytes: l.job.ValueBytes} // what is being applied keeps its memory
			var together []database.Batch
			for writes := range slices.Chunk(w.batch(min(size, s.Count-done), 0, func(i int) uint64 { return first + uint64(i) }), most) {
				together = append(together, database.Batch{Writes: writes})
			}
			p, err := l.db.Prepare(together)
			if err != nil {
				return err
			}
			select {
			case ready <- p:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	group.Go(func() error {
		for p := range ready {
			if _, err := l.db.ApplyPrepared(ctx, p); err != nil {
				return err
			}
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return a, err
	}
	a, err = l.state()
	watch.stop(&a)
	return a, err
}

// importFile imports JSON Lines.
func (l *local) importFile(ctx context.Context, s step) (a answer, err error) {
	watch := startWatch()
	r, err := importer.Run(ctx, l.db, importer.Options{
		Paths: []string{s.Path}, Format: string(importer.JSONL), BatchSize: fillBatch(l.job.ValueBytes), TempDir: filepath.Dir(s.Path),
	})
	if err != nil {
		return a, err
	}
	if a, err = l.state(); err != nil {
		return a, err
	}
	watch.stop(&a)
	if r.Written != int64(s.Count) {
		return a, fmt.Errorf("%d of %d records written", r.Written, s.Count)
	}
	a.Operations = uint64(r.Written)
	return a, nil
}

// update makes one durable commit of Count writes: in the family any, new values
// (Version) of random ones of Keys keys, each once; in immutable, new keys. First
// says how many were updated before.
func (l *local) update(ctx context.Context, s step) (a answer, err error) {
	writes := l.w.batch(s.Count, s.Version, l.numbers(s))
	watch := startWatch()
	c, err := l.db.Apply(ctx, database.Batch{Writes: writes})
	watch.stop(&a)
	if err != nil {
		return a, err
	}
	a.Size, a.Root, a.Operations = c.Size, c.Root, uint64(c.Operations)
	return a, nil
}

// settle waits until the storage engine does nothing in the background any more,
// and answers with the bytes of the directory: what is kept in the long run.
func (l *local) settle(ctx context.Context) (a answer, err error) {
	const (
		look  = 50 * time.Millisecond
		small = 8 << 20 // bytes: nothing is merged later
		short = 150 * time.Millisecond
		long  = 4 * time.Second // after which the store has begun to merge
		most  = 5 * time.Minute
	)
	began := time.Now()
	var last [3]float64
	for since := began; ; {
		now, err := l.engine()
		if err != nil {
			return a, err
		}
		if now != last {
			last, since = now, time.Now()
		}
		quiet := short
		if now[0] > small {
			quiet = long
		}
		if time.Since(since) >= quiet || time.Since(began) > most {
			break
		}
		select {
		case <-ctx.Done():
			return a, ctx.Err()
		case <-time.After(look):
		}
	}
	if a, err = l.state(); err != nil {
		return a, err
	}
	a.Disk, err = diskUsage(l.job.Dir)
	return a, err
}

// engine is what changes while the storage engine works: bytes on disk, flushes
// and compactions done.
func (l *local) engine() (v [3]float64, err error) {
	families, err := l.reg.Gather()
	for _, f := range families {
		for i, name := range []string{"disk_usage_bytes", "flushes_total", "compactions_total"} {
			if f.GetName() == "proofsync_pebble_"+name {
				m := f.GetMetric()[0]
				v[i] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return v, err
}

// diskUsage is the size in bytes of all files below dir.
func diskUsage(dir string) (n uint64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // a table that was merged meanwhile
			return nil
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err == nil:
			n += uint64(info.Size())
		}
		return err
	})
	return n, err
}

// discard is the logger of children: what matters ends them.
var discard = slog.New(slog.DiscardHandler)
