package app

import (
	"fmt"
	"time"

	"github.com/proofsync/proofsync/pkg/api"
	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/config"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/syncer"
	"github.com/proofsync/proofsync/pkg/targets"
	"github.com/proofsync/proofsync/pkg/wire"
)

// trusted puts in front of the pool whoever names the targets, as configured.
func (f *following) trusted(pool *source.Servers) (source.Source, error) {
	metrics := targets.NewMetrics(f.reg)
	switch c := f.cfg; {
	case c.StaticTarget.Target != (wire.Target{}):
		f.exits.Log.Info("the target is the one that was given, no other one is followed", "target", c.StaticTarget.Target)
		return targets.NewStatic(pool, c.StaticTarget.Target), nil
	case c.TargetSource == config.TargetCheckpoint:
		signed, err := targets.New(pool, f.storage.DB, targets.Options{
			Places: c.Checkpoints,
			Trust: checkpoint.Trust{
				Origin: string(c.Origin), Codec: c.Codec(), Keys: c.TrustedKeys.Parsed(), Quorum: int(c.Quorum), MaxAge: c.MaxTargetAge.D(),
			},
			HTTP: f.security.httpClient(), Timeout: c.RequestTimeout.D(), Logger: f.exits.Log, Metrics: metrics,
		})
		if err != nil {
			return nil, err
		}
		f.signed = signed
		f.exits.Log.Info("targets are signed checkpoints", "origin", c.Origin, "places", c.Checkpoints.String(),
			"trusted_keys", len(c.TrustedKeys), "quorum", int(c.Quorum), "max_target_age", c.MaxTargetAge.D())
		return signed, nil
	}
	f.exits.Log.Info("targets are taken on the servers' word: whoever controls a server decides what this replica serves (--target-source checkpoint does not trust them)")
	return pool, nil
}

// offer adds to the API what only a client has: the checkpoint it follows.
func (f *following) offer(o *api.Options) error {
	if f.signed != nil {
		o.Checkpoint = f.signed.Note
	}
	return nil
}

// trust says in a status document why the targets are believed.
func (f *following) trust() *document.Trust {
	switch {
	case f.cfg.StaticTarget.Target != (wire.Target{}):
		return &document.Trust{Source: document.TrustStatic}
	case f.signed == nil:
		return &document.Trust{Source: document.TrustServer}
	}
	st := f.signed.Status()
	d := &document.Trust{
		Source: document.TrustCheckpoint, Origin: st.Origin, Quorum: st.Quorum, Epoch: st.Epoch, Signers: st.Signers, Stale: st.Stale,
		MaxAgeSeconds: st.MaxAge.Seconds(),
	}
	if !st.Time.IsZero() {
		at, age := st.Time.UTC(), st.Age.Round(time.Millisecond).Seconds()
		d.Time, d.AgeSeconds = &at, &age
	}
	if st.Refusal != nil {
		d.LastError = st.Refusal.Error()
	}
	return d
}

// judged puts what is known of the checkpoints into the state of a status document:
// in step with one that is too old is not in step.
func judged(d *document.Status, s syncer.Status) {
	t := d.Trust
	switch {
	case s.Untrusted != nil:
		d.Message = fmt.Sprintf("%s: %v", states[s.Phase][1], s.Untrusted)
	case t.Source != document.TrustCheckpoint || !t.Stale || t.Time == nil:
	case d.State == document.StateInStep || d.State == document.StateBehind || d.State == document.StateConnecting:
		d.State = document.StateStale
		d.Message = fmt.Sprintf("%s: signed %s ago", states[syncer.PhaseStale][1], time.Duration(*t.AgeSeconds*float64(time.Second)).Round(time.Second))
		if t.LastError != "" {
			d.Message += "; " + t.LastError
		}
	}
}
