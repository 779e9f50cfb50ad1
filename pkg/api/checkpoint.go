package api

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"

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
	note := a.o.Checkpoint(max(1, int(n)))
	switch {
	case note == nil && n > 1:
		return document.NewProblem(document.CodeNoCheckpoint, "there is no checkpoint with %d signatures here, or none yet", n)
	case note == nil:
		return document.NewProblem(document.CodeNoCheckpoint, "there is no checkpoint yet; the log of the process says more")
	}
	sum := sha256.Sum256(note)
	etag := `"` + hex.EncodeToString(sum[:16]) + `"`
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

var textType = []string{"text/plain; charset=utf-8"}
