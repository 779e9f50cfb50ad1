package api

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/store"
)

func TestDamageIsCountedAndLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, anyFixed)
		damage := &store.CorruptError{Where: "somewhere", Err: database.ErrPruned}
		lines := func() int { return strings.Count(f.log.String(), "stored data is damaged") }
		for range 5 {
			if p := f.api.problemOf(damage, nil); p.Code != document.CodeDatabase || strings.Contains(p.Detail, "somewhere") {
				t.Errorf("%+v", p)
			}
		}
		if lines() != 1 {
			t.Errorf("logged %d times", lines())
		}
		f.api.problemOf(errors.New("disk on fire"), nil)
		time.Sleep(time.Minute)
		f.api.problemOf(damage, nil)
		if log := f.log.String(); lines() != 2 || !strings.Contains(log, "not_logged_before=4") || !strings.Contains(log, "disk on fire") {
			t.Errorf("logged:\n%s", log)
		}
		if c, o := f.metric("proofsync_http_database_failures_total", "kind", "corruption"), f.metric("proofsync_http_database_failures_total", "kind", "other"); c != 6 || o != 1 {
			t.Errorf("%v damages and %v others counted", c, o)
		}
		if err := f.api.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		_ = f.db.Close()
	})
}

func TestDatabaseErrorsHaveCodes(t *testing.T) {
	f := newFixture(t, anyFixed)
	for err, code := range map[error]document.Code{
		database.ErrEmpty: document.CodeEmpty, database.ErrClosed: document.CodeUnavailable, database.ErrPruned: document.CodeGone,
		database.ErrNotBoundary: document.CodeNotBoundary, database.ErrBeyond: document.CodeBeyond, document.ErrNotUTF8: document.CodeNotText,
		document.NewProblem(document.CodeFloor, "as it is"): document.CodeFloor,
	} {
		if p := f.api.problemOf(err, nil); p.Code != code {
			t.Errorf("%v is %s", err, p.Code)
		}
	}
}

func TestEndOfTheProcessIsSaidToClients(t *testing.T) {
	f := newFixture(t, anyFixed)
	if err := f.db.Close(); err != nil {
		t.Fatal(err)
	}
	r := f.do(http.MethodGet, "/v1/keys")
	if r.Header.Get("Retry-After") == "" {
		t.Errorf("headers %v", r.Header)
	}
	decodeProblem(t, r, document.CodeUnavailable)
}

func TestWhoIsGoneIsNoFailureOfOurs(t *testing.T) {
	f := newFixture(t, anyFixed)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	w := httptest.NewRecorder()
	f.api.fail(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil), document.NewProblem(document.CodeUnavailable, "busy"))
	if w.Code != http.StatusRequestTimeout {
		t.Errorf("status %d", w.Code)
	}
}
