package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/fx"

	"github.com/proofsync/proofsync/pkg/certs"
	"github.com/proofsync/proofsync/pkg/config"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/syncer"
	"github.com/proofsync/proofsync/pkg/targets"
	"github.com/proofsync/proofsync/pkg/telemetry"
)

// largeSync is how many operations leave memory behind that is worth giving back.
const largeSync = 1 << 16

// lagInterval is how often the lag is looked at for /readyz.
const lagInterval = time.Second

// Client is the graph of cmd/client.
func Client(cfg *config.Client, log *slog.Logger, extra ...fx.Option) *fx.App {
	return fx.New(clientOptions(cfg, log), fx.Options(extra...))
}

func clientOptions(cfg *config.Client, log *slog.Logger) fx.Option {
	return fx.Options(
		common(&cfg.Common, cfg.MetricsPort, use{repair: cfg.OnCorruption == config.CorruptionRebuild, halt: cfg.OnCorruption != config.CorruptionRebuild && !bool(cfg.Once)}, log),
		fx.Supply(cfg),
		fx.Provide(func() securityOptions { return clientTLS(cfg) }, newSecurity),
		fx.Provide(func(lc fx.Lifecycle, _ *security) *webPort { return newWebPort(lc, cfg.Host, cfg.HTTPPort) }),
		fx.Invoke(func(lc fx.Lifecycle, sec *security, p *webPort, st *storage, state *status, reg prometheus.Registerer, e exits) {
			f := &following{cfg: cfg, security: sec, storage: st, status: state, reg: reg, exits: e}
			lc.Append(fx.Hook{OnStart: f.start, OnStop: f.stop})
			r := &report{role: document.RoleClient, cfg: &cfg.Common, status: state, storage: st, started: time.Now(), oldest: oldestTarget(cfg)}
			lc.Append((&web{
				cfg: &cfg.HTTP, security: sec, port: p, storage: st, reg: reg, exits: e, more: f.offer,
				status: func() document.Status { return r.client(f.sync.Status(), f.pool.States(), f.trust()) },
			}).hook())
		}),
		retain(&cfg.Common),
	)
}

// following is the last part of the client: the database follows the servers.
type following struct {
	cfg      *config.Client
	security *security
	storage  *storage
	status   *status
	reg      prometheus.Registerer
	exits    exits

	pool   *source.Servers
	signed *targets.Source // what the targets come from; nil: the pool, or there is one only
	sync   *syncer.Syncer
	tasks  tasks

	interrupted atomic.Bool // see errInterrupted
}

func (f *following) start(ctx context.Context) error {
	log := f.exits.Log
	f.pool = source.NewServers(ctx, f.cfg.Servers, source.ServersOptions{Peer: source.PeerOptions{
		Codec: f.cfg.Codec(), Timeout: f.cfg.RequestTimeout.D(), Logger: log, Metrics: source.NewMetrics(f.reg),
		TLS: func(name string) *tls.Config { return f.security.ClientConfig(name, certs.ProtoSync) },
	}})
	from, err := f.trusted(f.pool)
	if err != nil {
		return errors.Join(err, f.pool.Close())
	}
	f.sync = syncer.New(f.storage.DB, from, syncer.Options{
		BatchSize:        int(f.cfg.BatchSize),
		MaxOutstanding:   int(f.cfg.MaxOutstanding),
		MaxInflightBytes: int64(f.cfg.MaxInflightBytes),
		TargetInterval:   f.cfg.TargetInterval.D(),
		SyncInterval:     f.cfg.SyncInterval.D(),
		OnFork:           syncer.ForkPolicy(f.cfg.OnFork),
		OnCorruption:     syncer.CorruptionPolicy(f.cfg.OnCorruption),
		Follow:           bool(f.cfg.Follow) && !bool(f.cfg.Once),
		Once:             bool(f.cfg.Once),
		Synced: func(r syncer.Result) {
			if r.Fetched >= largeSync {
				telemetry.ReleaseMemory()
			}
		},
		Server:  strings.Join(f.cfg.Servers, ","),
		Logger:  log,
		Metrics: syncer.NewMetrics(f.reg),
	})
	if f.cfg.ReadyPolicy == config.ReadyMaxLag {
		gate := &telemetry.LagGate{Max: uint64(f.cfg.MaxLag), For: f.cfg.MaxLagFor.D()}
		f.tasks.start("readiness", func(ctx context.Context) error { f.watchLag(ctx, gate); return nil }, f.exits.failed)
		f.status.traffic.set(func() error { return errors.Join(f.readable(), gate.Check()) })
	} else {
		f.status.traffic.set(f.readable)
	}
	f.tasks.start("sync", f.follow, f.exits.failed)
	return nil
}

// errInterrupted: a client that was to sync once was stopped before it had.
var errInterrupted = errors.New("stopped before a sync was completed")

// follow runs the sync loop; with --once it ends the process after one sync.
func (f *following) follow(ctx context.Context) error {
	if !f.cfg.Once {
		return f.sync.Run(ctx)
	}
	limited, cancel := ctx, context.CancelFunc(func() {})
	if d := f.cfg.Deadline.D(); d > 0 {
		limited, cancel = context.WithTimeout(ctx, d)
	}
	defer cancel()
	err := f.sync.Run(limited)
	switch {
	case ctx.Err() != nil && err == nil:
		f.interrupted.Store(true)
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("deadline of %s: %w", f.cfg.Deadline.D(), err)
	case err == nil:
		f.exits.with(exitOK)
	}
	return err
}

// readable is the condition of the ready policy serving: there is a verified
// root to read at, whatever the servers do, unless they are known to serve a
// log of another family or encoding: that is a wrong configuration.
func (f *following) readable() error {
	if m := f.sync.Status().Mismatch; m != nil {
		return m
	}
	v, err := f.storage.DB.View()
	if err != nil {
		return err
	}
	v.Close()
	return nil
}

// oldestTarget is how old a healthy loop lets the newest target become.
func oldestTarget(cfg *config.Client) time.Duration {
	return cfg.SyncInterval.D() + cfg.TargetInterval.D() + 2*cfg.RequestTimeout.D()
}

// watchLag measures the lag.
func (f *following) watchLag(ctx context.Context, gate *telemetry.LagGate) {
	oldest := oldestTarget(f.cfg)
	tick := time.NewTicker(lagInterval)
	defer tick.Stop()
	for {
		s := f.sync.Status()
		gate.Observe(s.Lag(), lagKnown(s, oldest))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// lagKnown says whether the lag means anything. It does not while the newest
// target is older than a healthy loop lets it become, nor while that target is
// not known to be one of our history.
func lagKnown(s syncer.Status, oldest time.Duration) bool {
	return s.Obstacle() == nil && !s.TargetTime.IsZero() && time.Since(s.TargetTime) <= oldest
}

func (f *following) stop(ctx context.Context) error {
	f.status.traffic.clear()
	err := errors.Join(f.tasks.stop(ctx), f.pool.Close())
	if f.signed != nil {
		err = errors.Join(err, f.signed.Close())
	}
	if f.interrupted.Load() {
		err = errors.Join(err, errInterrupted)
	}
	return err
}
