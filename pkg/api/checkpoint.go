package api

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"

	"github.com/proofsync/proofsync/pkg/document"
)

// maxSignatures bounds what can be asked of a checkpoint.
const maxSignatures = 64

// checkpoint answers GET /v1/checkpoint: the newest signed note, as it is. What it
// says is signed, and has to be checked by whoever reads it: the answer names no
// root of its own.
func (a *API) checkpoint(w http.ResponseWriter, r *http.Request) error {
	p, err := parseParams(r, "signatures")
	if err != nil {
		return err
	}
	n, _, err := p.number("signatures", 1, maxSignatures)
	if err != nil {
		return err
	}
	if a.o.Checkpoint == nil {
		return document.NewProblem(document.CodeNoCheckpoint,
			"there are no signed checkpoints here: a server signs them with --checkpoint-key-file, and a client passes them on with --target-source checkpoint")
	}
	note, etag := a.newestCheckpoint(r, max(1, int(n)))
	switch {
	case note == nil && n > 1:
		return document.NewProblem(document.CodeNoCheckpoint, "there is no checkpoint with %d signatures here, or none yet", n)
	case note == nil:
		return document.NewProblem(document.CodeNoCheckpoint, "there is no checkpoint yet; the log of the process says more")
	}
	hs := w.Header()
	hs["Etag"] = []string{etag}
	hs["Cache-Control"] = noStore // an old one is of no use to anybody
	if etagMatches(r.Header["If-None-Match"], etag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	hs["Content-Type"] = textType
	hs["Content-Length"] = []string{strconv.Itoa(len(note))}
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(note) // who does not read an answer is gone
	}
	return nil
}

// newestCheckpoint is the newest note and its tag. Who has it already, and prefers to
// wait, gets the next one, if it comes in that time.
func (a *API) newestCheckpoint(r *http.Request, parties int) (note []byte, etag string) {
	var late <-chan time.Time
	if wait := document.WaitOf(r.Header.Get("Prefer")); wait > 0 && a.o.CheckpointChanged != nil && len(r.Header["If-None-Match"]) > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		late = t.C
	}
	for {
		var changed <-chan struct{}
		if late != nil {
			changed = a.o.CheckpointChanged() // before the note, or one is missed
		}
		note = a.o.Checkpoint(parties)
		sum := sha256.Sum256(note)
		etag = `"` + hex.EncodeToString(sum[:16]) + `"`
		if late == nil || note == nil || !etagMatches(r.Header["If-None-Match"], etag) {
			return note, etag
		}
		select {
		case <-changed:
		case <-late:
			return note, etag
		case <-r.Context().Done():
			return note, etag
		}
	}
}

var textType = []string{"text/plain; charset=utf-8"}
