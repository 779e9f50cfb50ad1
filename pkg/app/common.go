package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/fx"

	"github.com/proofsync/proofsync/pkg/config"
	"github.com/proofsync/proofsync/pkg/telemetry"
)

// heartLimit is how old the last heartbeat may be before /livez says no. It is
// generous: being killed for slowness makes nothing faster.
const heartLimit = 15 * time.Second

// common is what both processes have: logs, metrics, probes and the storage.
func common(c *config.Common, metrics config.Port, u use, log *slog.Logger) fx.Option {
	return fx.Options(
		fx.NopLogger, // run reports errors, the parts what they do
		fx.Supply(log),
		fx.Provide(
			newStatus,
			newRegistry,
			func(lc fx.Lifecycle, st *status, g prometheus.Gatherer, e exits) *telemetry.Server {
				return newTelemetry(lc, c, metrics, st, g, e)
			},
			func(lc fx.Lifecycle, _ *telemetry.Server, st *status, reg prometheus.Registerer, e exits) *storage {
				return newStorage(lc, c, u, st, reg, e)
			},
		),
	)
}

func newRegistry() (prometheus.Registerer, prometheus.Gatherer) {
	reg := telemetry.NewRegistry(telemetry.Build())
	return reg, reg
}

// newTelemetry serves metrics and probes; it is the first part to start.
func newTelemetry(lc fx.Lifecycle, c *config.Common, port config.Port, st *status, g prometheus.Gatherer, e exits) *telemetry.Server {
	heart := telemetry.NewHeartbeat(time.Second, heartLimit)
	open := telemetry.Probe{Name: "database", Check: st.database.Check}
	s := telemetry.NewServer(telemetry.Options{
		Addr: c.Host.Join(port), Gatherer: g, Logger: e.Log, Pprof: bool(c.Pprof),
		Live:    []telemetry.Probe{{Name: "heartbeat", Check: heart.Check}},
		Startup: []telemetry.Probe{open},
		Ready:   []telemetry.Probe{open, {Name: "disk", Check: st.disk.Check}, {Name: "data", Check: st.data.Check}, {Name: "traffic", Check: st.traffic.Check}},
	})
	var background tasks
	lc.Append(fx.Hook{
		OnStart: func(ctx context.Context) error {
			if err := s.Start(ctx, e.failed); err != nil {
				return err
			}
			background.start("heartbeat", func(ctx context.Context) error { heart.Run(ctx); return nil }, e.failed)
			return nil
		},
		OnStop: func(ctx context.Context) error {
			err := background.stop(ctx)
			if cut := s.Stop(ctx); cut != nil {
				e.Log.Warn("metrics requests cut off", "error", cut)
			}
			return err
		},
	})
	return s
}
