package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/committer"
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/store"
)

// newRemembering is a fixture whose committer knows idempotency keys for long.
func newRemembering(t *testing.T, long time.Duration) *fixture {
	t.Helper()
	db, err := database.Open("db", database.Options{Codec: anyVariable, FS: store.MemFS(), CreateIfMissing: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	com, err := committer.New(db, committer.Options{Remember: long})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := com.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return fixtureOf(t, db, func(o *Options) {
		o.Committer = com
		o.Token = func(s string) bool { return s == testToken }
	})
}

func TestAStreamThatTookLongAndIsSentAgainDoesNotGoBack(t *testing.T) {
	const remember = 300 * time.Millisecond
	f := newRemembering(t, remember)
	line := func(key, value string) string { return fmt.Sprintf("{\"key\":%q,\"value\":%q}\n", key, value) }
	stream := []string{line("k", "old"), line("0", "1"), line("1", "1"), line("2", "1"), line("3", "1"), line("k", "new"), line("4", "1")}
	const query = "?bytes=utf8&commit_every=1"

	pr, pw := io.Pipe()
	s := f.serveNet()
	r, err := http.NewRequest(http.MethodPost, s.URL+"/v1/batches"+query, pr)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+testToken)
	r.Header.Set("Content-Type", typeLines)
	r.Header.Set("Idempotency-Key", "one")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if res, err := s.Client().Do(r); err == nil {
			_ = res.Body.Close()
		}
	}()
	began := time.Now()
	for _, l := range stream { // every line is committed when the next one comes
		if _, err := io.WriteString(pw, l); err != nil {
			t.Fatal(err)
		}
		time.Sleep(remember / 4)
	}
	waitFor(t, func() bool { return f.value("k") == "new" })
	if time.Since(began) < remember {
		t.Fatal("the first commit is not old")
	}
	_ = pw.CloseWithError(errors.New("the connection breaks"))
	<-ended

	c := f.commitLines(query, strings.Join(stream, ""), "Idempotency-Key", "one")
	if c.Replayed || c.Writes != len(stream) || c.Commits != len(stream) {
		t.Errorf("%+v", c)
	}
	if v := f.value("k"); v != "new" || f.value("4") != "1" {
		t.Errorf("k is %s after the whole stream, its last line for k says new", v)
	}
	again := f.commitLines(query, strings.Join(stream, ""), "Idempotency-Key", "one")
	c.Replayed = true
	if again != c {
		t.Errorf("the stream %+v, again %+v", c, again)
	}
}

func TestAStreamThatIsShorterOrLongerThanTheFirstIsAnother(t *testing.T) {
	f := newWriting(t, anyVariable)
	const query = "?bytes=utf8&commit_every=4"
	f.commitLines(query, linesOf(0, 12), "Idempotency-Key", "one")
	size := f.size()
	for _, n := range []int{1, 4, 6, 8, 11, 13, 16} {
		p := f.refusedLines(document.CodeKeyReused, query, linesOf(0, n), "Idempotency-Key", "one")
		if *p.Applied > n || p.Detail == "" {
			t.Errorf("%d lines: %+v", n, p)
		}
	}
	if f.size() != size {
		t.Error("something was written")
	}
	if c := f.commitLines(query, linesOf(0, 12), "Idempotency-Key", "one"); !c.Replayed || c.Size != size {
		t.Errorf("the same: %+v", c)
	}
}
