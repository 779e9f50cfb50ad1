package app

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/fx"

	"github.com/proofsync/proofsync/pkg/config"
	"github.com/proofsync/proofsync/pkg/retention"
)

// retain bounds the history of the database. It comes last of the options, as it
// needs the storage, which is not to be opened before what comes first.
func retain(c *config.Common) fx.Option {
	return fx.Invoke(func(lc fx.Lifecycle, st *storage, reg prometheus.Registerer, e exits) { bound(lc, c, st, reg, e) })
}

// bound keeps the history of the database within the policy, from its opening
// until it is closed.
func bound(lc fx.Lifecycle, c *config.Common, st *storage, reg prometheus.Registerer, e exits) {
	var background tasks
	lc.Append(fx.Hook{
		OnStart: func(context.Context) error {
			l := retention.New(st.DB, retention.Options{Policy: c.Retain.Policy, Logger: e.Log, Metrics: retention.NewMetrics(reg)})
			if !st.reading {
				background.start("retention", l.Run, e.failed)
			}
			return nil
		},
		OnStop: background.stop,
	})
}
