package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/fx"

	"github.com/proofsync/proofsync/pkg/api"
	"github.com/proofsync/proofsync/pkg/certs"
	"github.com/proofsync/proofsync/pkg/committer"
	"github.com/proofsync/proofsync/pkg/config"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/generator"
	"github.com/proofsync/proofsync/pkg/notary"
	"github.com/proofsync/proofsync/pkg/serve"
	"github.com/proofsync/proofsync/pkg/store"
)

// Server is the graph of cmd/server. Standard input is read only when the
// configuration imports from it.
func Server(cfg *config.Server, stdin io.Reader, log *slog.Logger, extra ...fx.Option) *fx.App {
	return fx.New(serverOptions(cfg, stdin, log), fx.Options(extra...))
}

func serverOptions(cfg *config.Server, stdin io.Reader, log *slog.Logger) fx.Option {
	return fx.Options(
		common(&cfg.Common, cfg.MetricsPort, use{writer: true, epoch: uint64(cfg.Epoch), once: slices.Contains(cfg.Import, "-")}, log),
		fx.Supply(cfg),
		fx.Provide(func() securityOptions { return serverTLS(cfg) }, newSecurity),
		fx.Provide(newListener),
		fx.Provide(func(lc fx.Lifecycle, _ *listener) *imports { return newImports(lc, cfg, stdin, log) }),
		fx.Invoke(func(*imports) {}), // before the next, which needs the storage: input is checked before a database is made
		fx.Provide(func(lc fx.Lifecycle, sec *security, l *listener, _ *webPort, in *imports, st *storage, state *status, reg prometheus.Registerer, e exits) *serving {
			s := &serving{cfg: cfg, security: sec, listener: l, imports: in, storage: st, status: state, reg: reg, exits: e}
			lc.Append(fx.Hook{OnStart: s.start, OnStop: s.stop})
			return s
		}),
		fx.Provide(func(lc fx.Lifecycle, _ *listener) *webPort { return newWebPort(lc, cfg.Host, cfg.HTTPPort) }),
		fx.Invoke(func(lc fx.Lifecycle, s *serving, p *webPort) {
			r := &report{role: document.RoleServer, cfg: &cfg.Common, status: s.status, storage: s.storage, started: time.Now()}
			lc.Append((&web{
				cfg: &cfg.HTTP, security: s.security, port: p, storage: s.storage, reg: s.reg, exits: s.exits, status: r.server,
				more: s.offer,
			}).hook())
		}),
		retain(&cfg.Common),
	)
}

// listener holds the port of the sync protocol from the start on, so that a port
// in use is known before any work is done.
type listener struct{ net.Listener }

func newListener(lc fx.Lifecycle, cfg *config.Server, _ *security) *listener {
	l := new(listener)
	lc.Append(fx.Hook{
		OnStart: func(ctx context.Context) (err error) {
			if l.Listener, err = new(net.ListenConfig).Listen(ctx, "tcp", cfg.Host.Join(cfg.Port)); err != nil {
				return fmt.Errorf("listener: %w", err)
			}
			return nil
		},
		OnStop: func(context.Context) error {
			_ = l.Close() // serving has closed it, unless it was never reached
			return nil
		},
	})
	return l
}

// serving is the last part of the server: what is done with an open database.
type serving struct {
	cfg      *config.Server
	security *security
	listener *listener
	imports  *imports
	storage  *storage
	status   *status
	reg      prometheus.Registerer
	exits    exits

	seed    uint64
	server  *serve.Server
	gen     *generator.Generator
	batches *committer.Committer
	notary  *notary.Notary // nil: commits are not signed
	serves  tasks
	commits tasks
	writes  tasks
}

func (s *serving) start(context.Context) error {
	log := s.exits.Log
	var given bool
	if s.seed, given = s.cfg.Seed.Get(); !given {
		s.seed = rand.Uint64()
	}
	s.gen = generator.New(s.storage.DB, generator.Options{
		Seed:           s.seed,
		InitialOps:     uint64(s.cfg.InitialOps),
		OpInterval:     s.cfg.OpInterval.D(),
		OpsPerInterval: int(s.cfg.OpsPerInterval),
		FloorPolicy:    s.cfg.FloorPolicy.FloorPolicy,
		Logger:         log,
		Metrics:        generator.NewMetrics(s.reg),
	})
	s.server = serve.New(serve.FromDatabase(s.storage.DB), serve.Options{
		MaxOpsPerResponse:        int(s.cfg.MaxOpsPerResponse),
		MaxConnections:           int(s.cfg.MaxConnections),
		MaxConnectionsPerHost:    orNone(s.cfg.MaxConnsPerHost),
		MaxRequestsPerConnection: int(s.cfg.MaxRequests),
		MaxInflightBytes:         int64(s.cfg.MaxConnBytes),
		MaxTotalBytes:            int64(s.cfg.MaxTotalBytes),
		Limits: serve.Limits{
			Requests: float64(s.cfg.LimitRequests), TargetRequests: float64(s.cfg.LimitTargets), Bytes: float64(s.cfg.LimitBytes),
		},
		ClientLimits: serve.Limits{
			Requests: float64(s.cfg.LimitRequestsEach), TargetRequests: float64(s.cfg.LimitTargetsEach), Bytes: float64(s.cfg.LimitBytesEach),
		},
		LimitWait:    s.cfg.LimitWait.D(),
		TLS:          s.security.ServerConfig(certs.ProtoSync),
		Identify:     certs.Identity,
		Refused:      s.security.Refused,
		ReadTimeout:  s.cfg.ReadTimeout.D(),
		WriteTimeout: s.cfg.WriteTimeout.D(),
		IdleTimeout:  s.cfg.IdleTimeout.D(),
		Damaged:      func(err error) { s.storage.DB.NoteDamage(0, err) },
		Logger:       log,
		Metrics:      serve.NewMetrics(s.reg),
	})
	var err error
	s.batches, err = committer.New(s.storage.DB, committer.Options{
		Remember: s.cfg.RememberKeys.D(), Logger: log, Metrics: committer.NewMetrics(s.reg),
	})
	if err != nil {
		return err
	}
	if s.notary, err = newNotary(s.cfg, s.security, s.storage.DB, s.reg, s.exits); err != nil {
		return err
	}
	s.writes.start("writer", s.write, s.failed)
	return nil
}

// offer adds to the API what only a server has: checkpoints, and batches, which
// everybody may write who has the token or may open the socket.
func (s *serving) offer(o *api.Options) error {
	if s.notary != nil {
		o.Checkpoint, o.CheckpointChanged = s.notary.Note, s.notary.Changed
	}
	o.Committer = s.batches
	o.Limits.BodyBytes = int64(s.cfg.MaxBody)
	if s.cfg.WriteTokenFile == "" {
		return nil
	}
	token, err := api.OpenTokenFile(string(s.cfg.WriteTokenFile), s.exits.Log)
	if err != nil {
		return err
	}
	o.Token = token.Check
	return nil
}

// orNone turns 0 into the -1 of options whose 0 is the default.
func orNone(n config.Count) int {
	if n == 0 {
		return -1
	}
	return int(n)
}

// write generates and imports. A new database is filled before it is served, so that the first client gets all of it; one that exists is served
// at once, however long an import takes. No operation of any origin is written
// before all that is to be imported has been found good.
func (s *serving) write(ctx context.Context) error {
	fresh, err := s.gen.Fresh()
	if err != nil {
		return err
	}
	if s.cfg.OpInterval > 0 || fresh && s.cfg.InitialOps > 0 {
		s.exits.Log.Info("generating operations", "seed", s.seed)
	}
	load := func(ctx context.Context) error { return s.imports.apply(ctx, s.storage.DB) }
	steps := []func(context.Context) error{s.serve, load, s.gen.Run}
	if fresh {
		steps = []func(context.Context) error{s.imports.wait, s.gen.Initialize, load, s.serve, s.gen.Run}
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// failed ends the process, unless stored data is damaged and clients are being
// served: they get what can still be read, and a process that starts again would
// only meet the same.
func (s *serving) failed(err error) {
	if !errors.Is(err, store.ErrCorrupt) || s.status.traffic.Check() != nil {
		s.exits.failed(err)
		return
	}
	s.storage.DB.NoteDamage(0, err)
	s.exits.Log.Error("writing has ended, as stored data is damaged; reading goes on", "error", err)
}

// serve begins to answer clients.
func (s *serving) serve(context.Context) error {
	v, err := s.storage.DB.View()
	if err != nil {
		return err
	}
	s.exits.Log.Info("database ready", "op_count", v.Size(), "root", v.Root())
	v.Close()
	s.serves.start("sync server", func(ctx context.Context) error { return s.server.Serve(ctx, s.listener) }, s.exits.failed)
	if s.notary != nil {
		s.serves.start("notary", s.notary.Run, s.exits.failed)
	}
	s.commits.start("batches", s.batches.Run, s.failed) // those that came before have waited
	s.status.traffic.set(holds)
	msg := "server listening and continuously adding operations"
	if s.cfg.OpInterval == 0 {
		msg = "server listening"
	}
	s.exits.Log.Info(msg, "addr", s.listener.Addr().String(), "op_interval", s.cfg.OpInterval.D(), "ops_per_interval", uint64(s.cfg.OpsPerInterval))
	return nil
}

// stop ends writing, then lets clients have the answers they wait for. A part of
// the time is left for the database to close.
func (s *serving) stop(ctx context.Context) error {
	s.status.traffic.clear()
	write, cancel := withShare(ctx, 0.5)
	defer cancel()
	// The writer starts the other two: it ends first.
	err := errors.Join(s.writes.stop(write), s.commits.stop(write))
	drain, cancel := withShare(ctx, 0.8)
	defer cancel()
	if cut := s.server.Shutdown(drain); cut != nil {
		s.exits.Log.Warn("clients cut off", "error", cut)
	}
	err = errors.Join(err, s.serves.stop(ctx))
	if s.notary != nil {
		err = errors.Join(err, s.notary.Close())
	}
	return err
}

// withShare is ctx with a share of the time it has left.
func withShare(ctx context.Context, share float64) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Duration(share*float64(time.Until(end))))
}
