package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/serve"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/syncer"
)

// serverChild serves until its input ends, which it does when the parent dies as well.
func serverChild(ctx context.Context, j job, codec operation.Codec, in io.Reader, out *json.Encoder) (err error) {
	db, err := database.Open(j.Dir, database.Options{Codec: codec})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := serve.New(serve.FromDatabase(db), serve.Options{})
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }() // joined below
	err = out.Encode(serverUp{l.Addr().String()})
	if err == nil {
		_, err = io.Copy(io.Discard, in)
	}
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err = errors.Join(err, s.Shutdown(limited), <-served)
	if err != nil {
		return err
	}
	return out.Encode(serverDown{peakMemory()})
}

// clientChild does one cold sync, and opens what it has made once more.
func clientChild(ctx context.Context, j job, codec operation.Codec, out *json.Encoder) error {
	db, err := database.Open(j.Dir, database.Options{Codec: codec})
	if err != nil {
		return err
	}
	reg := prometheus.NewRegistry()
	run, err := coldSync(ctx, j, db, reg)
	run.PeakBytes = peakMemory()
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	if run.Bytes, err = receivedBytes(reg); err != nil {
		return err
	}
	if run.DiskBytes, err = diskUsage(j.Dir); err != nil {
		return err
	}
	began := time.Now()
	db, err = database.Open(j.Dir, database.Options{Codec: codec})
	if err != nil {
		return err
	}
	view, err := db.View()
	run.Reopen = time.Since(began).Seconds()
	if err != nil {
		return errors.Join(err, db.Close())
	}
	if view.Root() != run.Root {
		err = fmt.Errorf("root is %s after reopening, %s before", view.Root(), run.Root)
	}
	view.Close()
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	return out.Encode(run)
}

func coldSync(ctx context.Context, j job, db *database.DB, reg prometheus.Registerer) (run Run, err error) {
	peer := source.NewPeer(j.Addr, source.PeerOptions{Codec: db.Codec(), Metrics: source.NewMetrics(reg)})
	pool := source.NewPool([]source.Source{peer}, source.PoolOptions{})
	defer func() { err = errors.Join(err, pool.Close()) }()
	engine := syncer.New(db, pool, syncer.Options{BatchSize: j.BatchSize, Metrics: syncer.NewMetrics(reg)})
	result, err := engine.Sync(ctx)
	if err != nil {
		return run, err
	}
	return Run{
		Seconds: result.Duration.Seconds(), Operations: result.Fetched,
		Size: result.Size, Root: result.Root,
	}, nil
}

// receivedBytes reads the connection's own counter.
func receivedBytes(reg prometheus.Gatherer) (n uint64, err error) {
	families, err := reg.Gather()
	for _, f := range families {
		if f.GetName() == "proofsync_source_received_bytes_total" {
			for _, m := range f.GetMetric() {
				n += uint64(m.GetCounter().GetValue())
			}
		}
	}
	return n, err
}

// diskUsage is the size in bytes of all files below dir.
func diskUsage(dir string) (n uint64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			n += uint64(info.Size())
		}
		return err
	})
	return n, err
}
