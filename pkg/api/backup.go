package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/store"
)

// backupPath is what the socket has and the network does not: it writes where it
// is told to, as the user the process runs as.
const backupPath = "/local/backup"

// backupInterval is the time between two reports of a backup that takes long.
const backupInterval = time.Second

// backup answers POST /local/backup?path=…: it makes a backup at a path of this
// machine. The answer is JSON Lines: document.BackupEvents, the last one with the
// result. What goes wrong before the first of them is a problem as elsewhere.
func (a *API) backup(w http.ResponseWriter, r *http.Request) error {
	p, err := parseParams(r, "path")
	if err != nil {
		return err
	}
	path, _ := p.text("path")
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" {
		return document.NewProblem(document.CodeInvalidRequest, "path=%.200q: an absolute path of a new or empty directory expected", path)
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(a.stopping, cancel)()

	lines := &eventLines{a: a, w: w, reported: time.Now()}
	b, err := a.db.Backup(ctx, path, lines.progress)
	if err != nil {
		problem := a.backupProblem(err)
		if !lines.begun {
			return problem
		}
		lines.send(document.BackupEvent{Problem: problem})
		return nil
	}
	a.log.Info("backup made", "path", path, "op_count", b.Size, "root", b.Root, "bytes", b.Files.Bytes, "linked_bytes", b.Files.Linked,
		"duration", b.Duration.Round(time.Millisecond))
	lines.send(document.BackupEvent{Done: b.Files.Bytes, Total: b.Files.Bytes, Backup: &document.Backup{
		Path:  path,
		Head:  document.Head{Root: b.Root.String(), Size: b.Size, Floor: b.Floor, Start: b.Start},
		Epoch: b.Epoch, Files: b.Files.Files, Bytes: b.Files.Bytes, LinkedBytes: b.Files.Linked, Seconds: b.Duration.Seconds(),
	}})
	return nil
}

// backupProblem says what went wrong with details: whoever may open the socket
// may see the log of the process as well.
func (a *API) backupProblem(err error) *document.Problem {
	_, target := errors.AsType[*store.TargetError](err)
	_, locked := errors.AsType[*store.LockedError](err)
	switch {
	case target:
		return document.NewProblem(document.CodeInvalidRequest, "%s", err)
	case locked, errors.Is(err, database.ErrBackupRunning):
		return document.NewProblem(document.CodeUnavailable, "%s", err)
	case errors.Is(err, context.Canceled):
		return document.NewProblem(document.CodeUnavailable, "the backup was called off; nothing of it is left")
	case errors.Is(err, store.ErrCorrupt), errors.Is(err, database.ErrEmpty), errors.Is(err, database.ErrClosed):
		return a.problemOf(err, nil)
	}
	a.log.Error("backup not made", "error", err)
	return document.NewProblem(document.CodeDatabase, "no backup was made: %s", err)
}

// eventLines are the lines of an answer.
type eventLines struct {
	a        *API
	w        http.ResponseWriter
	begun    bool
	reported time.Time
}

// progress reports now and then.
func (l *eventLines) progress(done, total int64) {
	if now := time.Now(); now.Sub(l.reported) >= backupInterval {
		l.reported = now
		l.send(document.BackupEvent{Done: done, Total: total})
	}
}

func (l *eventLines) send(e document.BackupEvent) {
	if !l.begun {
		l.begun = true
		l.w.Header()["Content-Type"] = []string{typeLines}
		l.w.Header()["Cache-Control"] = noStore
	}
	l.a.extend(l.w)
	// Who does not read it is gone, which ends the context of the request.
	_ = json.NewEncoder(l.w).Encode(e)
	_ = http.NewResponseController(l.w).Flush()
}
