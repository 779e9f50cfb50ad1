package api

import (
	"net/http"
	"time"

	"github.com/proofsync/proofsync/pkg/document"
)

// status answers GET /v1/status. It has an answer before there is anything to
// read, too.
func (a *API) status(w http.ResponseWriter, r *http.Request) error {
	if _, err := parseParams(r); err != nil {
		return err
	}
	s := a.Status()
	s.Writes = a.offersWrites(isLocal(r))
	return respondOften(w, r, s.Head, &s)
}

// offersWrites says whether anybody can write through a door.
func (a *API) offersWrites(local bool) bool {
	return a.o.Committer != nil && (local || a.o.Token != nil)
}

// Status is the answer to GET /v1/status as it is now, for the network.
func (a *API) Status() document.Status {
	s := document.Status{Role: document.RoleServer, State: document.StateStarting, Message: "nothing is readable yet", Started: a.started.UTC()}
	if a.o.Status != nil {
		s = a.o.Status()
	}
	s.Family, s.Encoding = a.codec.Family().String(), a.codec.Encoding().String()
	s.Epoch = a.db.Epoch()
	s.Writes = a.offersWrites(false)
	if s.Time.IsZero() {
		s.Time = time.Now().UTC()
	}
	if s.Head != nil {
		return s
	}
	v, err := a.db.View()
	if err != nil {
		return s
	}
	defer v.Close()
	s.Head = &a.headOf(v).Head
	if a.o.Status == nil {
		s.State, s.Message, s.Ready = document.StateServing, "the database is open", true
	}
	return s
}
