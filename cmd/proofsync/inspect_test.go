package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/remote"
)

func TestInspectTellsOfPruningThatIsNotComplete(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	db, err := database.Open(dir, database.Options{Codec: operation.NewCodec(operation.Immutable, operation.Variable), CreateIfMissing: true})
	if err != nil {
		t.Fatal(err)
	}
	floor := uint64(900)
	b := database.Batch{Floor: &floor}
	for i := range 1000 {
		b.Writes = append(b.Writes, database.Write{Key: fmt.Append(nil, i), Value: []byte("x")})
	}
	if _, err := db.Apply(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	pending := func() bool {
		cmd := newInspect()
		out := new(bytes.Buffer)
		cmd.SetOut(out)
		cmd.SetArgs([]string{dir})
		if err := cmd.ExecuteContext(context.Background()); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(out.String(), "pending: operations 0 to 768 are not retained")
	}
	if start, err := db.Retain(floor); err != nil || start != 768 {
		t.Fatalf("retained from %d: %v", start, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if !pending() {
		t.Error("it does not tell of what is left to be deleted")
	}
	if db, err = database.Open(dir, database.Options{Codec: operation.NewCodec(operation.Immutable, operation.Variable)}); err != nil {
		t.Fatal(err)
	}
	for s, err := db.PruneStep(t.Context()); !s.Done(); s, err = db.PruneStep(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if pending() {
		t.Error("it tells of what is deleted")
	}
}

func TestAnOlderProcessThatMakesNoBackupsIsToldApart(t *testing.T) {
	for _, err := range []error{
		document.NewProblem(document.CodeNotFound, "no such path"),
		fmt.Errorf("asking: %w", &remote.StatusError{Status: http.StatusNotFound}),
	} {
		if got := tooOld(err, "/data").Error(); !strings.Contains(got, "holds /data is an older version") || !strings.Contains(got, "stop it and try again") {
			t.Error(got)
		}
	}
	for _, err := range []error{nil, errors.New("x"), document.NewProblem(document.CodeInvalidRequest, "x")} {
		if got := tooOld(err, "/data"); got != err { // the same one is meant
			t.Errorf("%v became %v", err, got)
		}
	}
}
