package app

import (
	"fmt"
	"time"

	"github.com/proofsync/proofsync/pkg/config"
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/syncer"
	"github.com/proofsync/proofsync/pkg/telemetry"
)

// report makes the document that says how the process is doing.
type report struct {
	role    string
	cfg     *config.Common
	status  *status
	storage *storage
	started time.Time
	oldest  time.Duration // of a client: a target older than this says nothing of the present
}

// base is what server and client have in common. State and message are those
// of a process that has nothing more to say.
func (r *report) base() document.Status {
	c := r.cfg.Codec()
	d := document.Status{
		Role: r.role, Version: telemetry.Build().Version,
		Family: c.Family().String(), Encoding: c.Encoding().String(),
		State: document.StateStarting, Message: "the database is being opened or filled",
		Time: time.Now().UTC(), Started: r.started.UTC(),
	}
	d.Ready = r.status.ready()
	if v, err := r.storage.DB.View(); err == nil {
		d.Head = headOf(v)
		v.Close()
	}
	if s := r.storage.space.State(); s.Known {
		d.Disk = &document.Disk{FreeBytes: s.Free, FloorBytes: s.Floor, Paused: s.Paused}
	}
	return d
}

func headOf(v *database.View) *document.Head {
	return &document.Head{Root: v.Root().String(), Size: v.Size(), Floor: v.Floor(), Start: v.Start()}
}

// server is the status of cmd/server.
func (r *report) server() document.Status {
	d := r.base()
	low := r.storage.space.Check()
	switch serving, x := r.status.traffic.Check() == nil, r.storage.DB.Damage(); {
	case x != nil:
		d.State, d.Message = document.StateDamaged, fmt.Sprintf("serving what can be read; stored data is damaged: %v", x.Err)
	case low != nil && serving:
		d.State, d.Message = document.StatePaused, fmt.Sprintf("serving its log to replicas, writing nothing: %v", low)
	case low != nil:
		d.Message = fmt.Sprintf("%s: %v", d.Message, low)
	case serving:
		d.State, d.Message = document.StateServing, "serving its log to replicas"
	}
	return d
}

// states says in one word and one sentence what each phase of the syncer is.
var states = map[syncer.Phase][2]string{
	syncer.PhaseConnecting: {document.StateConnecting, "asking for the newest target"},
	syncer.PhaseSyncing:    {document.StateSyncing, "fetching and verifying what is missing"},
	syncer.PhaseWaiting:    {document.StateInStep, "holds everything its source has named"},
	syncer.PhaseBehind:     {document.StateBehind, "the source has less than this replica"},
	syncer.PhaseForked:     {document.StateForked, "the source's history contradicts what was verified here"},
	syncer.PhaseMismatch:   {document.StateMismatch, "the source serves a log of another family or encoding"},
	syncer.PhaseStale:      {document.StateStale, "serving what was verified before; no checkpoint is fresh enough to be followed"},
	syncer.PhaseRollback:   {document.StateRollback, "serving what was verified before; the newest checkpoint is older than one accepted before"},
	syncer.PhasePaused:     {document.StatePaused, "reading goes on, nothing is fetched"},
	syncer.PhaseDamaged:    {document.StateDamaged, "stored data is damaged"},
	syncer.PhaseFailed:     {document.StateFailed, "the storage failed; the process is ending"},
}

// client adds what the syncer knows, and why its targets are believed.
func (r *report) client(s syncer.Status, sources []source.SourceState, trust *document.Trust) document.Status {
	d := r.base()
	w := states[s.Phase]
	d.State, d.Message = w[0], w[1]
	if why := s.Obstacle(); why != nil {
		d.Message = fmt.Sprintf("%s: %v", d.Message, why)
	} else if x := r.storage.DB.Damage(); x != nil {
		d.State = document.StateDamaged
		d.Message = fmt.Sprintf("%s: %v", states[syncer.PhaseDamaged][1], x.Err)
	} else if s.Paused != nil {
		d.Message = fmt.Sprintf("%s: %v", d.Message, s.Paused)
	} else if low := r.storage.space.Check(); low != nil { // also with nothing to fetch
		d.State = document.StatePaused
		d.Message = fmt.Sprintf("%s: %v", states[syncer.PhasePaused][1], low)
	} else if s.Failures > 0 && s.LastError != nil {
		d.Message = fmt.Sprintf("%s; last failure: %v", d.Message, s.LastError)
	}
	d.Trust = trust
	judged(&d, s)
	for _, x := range sources {
		d.Sources = append(d.Sources, sourceDocument(x))
	}
	d.Sync = &document.Sync{
		Phase: string(s.Phase), Iteration: s.Iteration, Stored: s.Stored, Progress: progress(s), Rate: s.Rate,
		Failures: s.Failures, Stalled: s.Stalled, Following: s.Following,
	}
	if s.ETA > 0 {
		eta := s.ETA.Seconds()
		d.Sync.ETASeconds = &eta
	}
	if !s.LastSync.IsZero() {
		t := s.LastSync.UTC()
		d.Sync.LastSync = &t
	}
	if s.LastError != nil {
		d.Sync.LastError = s.LastError.Error()
	}
	if s.TargetTime.IsZero() {
		return d
	}
	d.Target = &document.Target{Root: s.Target.Root.String(), Start: s.Target.Start, End: s.Target.End, Time: s.TargetTime.UTC()}
	// That a replica holds all of an old target does not make it in step; what it
	// lacks of one, it lacks.
	if s.Obstacle() == nil && (s.Lag() > 0 || lagKnown(s, r.oldest)) {
		d.Lag = &document.Lag{Operations: s.Lag()}
		if s.Lag() > 0 {
			since := s.LastSync
			if since.IsZero() {
				since = r.started
			}
			d.Lag.Seconds = max(0, d.Time.Sub(since).Seconds())
		}
	}
	return d
}

// progress is the share of the sync under way that is verified, 0 to 1.
func progress(s syncer.Status) float64 {
	from, end := s.Target.Start, s.Target.End
	if s.Size > from && s.Stored >= s.Size {
		from = s.Size // it continues what is readable
	}
	switch {
	case s.TargetTime.IsZero():
		return 0
	case s.Size >= end:
		return 1
	case s.Stored <= from || end <= from:
		return 0
	}
	return min(1, float64(s.Stored-from)/float64(end-from))
}

func sourceDocument(s source.SourceState) document.Source {
	d := document.Source{
		Name: s.Name, State: document.SourceDisconnected, CoolDownSeconds: s.CoolDown.Seconds(),
		Following: s.Following, LastError: s.LastError,
	}
	switch {
	case s.CoolDown > 0:
		d.State = document.SourceCoolDown
	case s.Connected:
		d.State = document.SourceConnected
	}
	return d
}
