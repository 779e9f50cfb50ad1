package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
)

// Every commit gives all keys the same value, so an answer that mixes two
// states shows two values, and one under the wrong root a value of another root.
const sameKeys = 30

// states are the values that belong to roots.
type states struct {
	mu     sync.Mutex
	values map[string]string
}

func (s *states) commit(ctx context.Context, db *database.DB, n int) error {
	value := fmt.Sprintf("%032d", n)
	var b database.Batch
	for i := range sameKeys {
		b.Writes = append(b.Writes, database.Write{Key: []byte(key32(i)), Value: []byte(value)})
	}
	s.mu.Lock() // nobody sees the root before its value is known
	defer s.mu.Unlock()
	c, err := db.Apply(ctx, b)
	if err == nil {
		s.values[c.Root.String()] = value
	}
	return err
}

// check says what is wrong with a value that was read under a root.
func (s *states) check(root, value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if want := s.values[root]; want != value {
		return fmt.Errorf("value %s under root %s, whose value is %s", value, root, want)
	}
	return nil
}

func TestAnswersShowOneStateWhileOthersAreMade(t *testing.T) {
	writer := newFixture(t, anyFixed)
	s := &states{values: map[string]string{}}
	if err := s.commit(t.Context(), writer.db, 0); err != nil {
		t.Fatal(err)
	}
	replica := fixtureOf(t, replicate(t, writer.db, nil))

	// Until enough has happened, however slow the machine is.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() {
		for n := 1; ctx.Err() == nil; n++ {
			if err := s.commit(context.WithoutCancel(ctx), writer.db, n); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Millisecond)
		}
	})
	var switches atomic.Int64
	all.Go(func() { // every time a whole new generation
		for ctx.Err() == nil {
			if err := copyState(writer.db, replica.db); err != nil {
				t.Error(err)
				return
			}
			switches.Add(1)
		}
	})
	var reads, roots sync.Map
	for _, f := range []*fixture{writer, replica} {
		for reader := range 3 {
			all.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					root, err := s.read(f, reader, n)
					if err != nil {
						t.Error(err)
						return
					}
					reads.Store(fmt.Sprint(f == writer, reader, n), true)
					roots.Store(root, true)
				}
			})
		}
	}
	count := func(m *sync.Map) (n int) {
		m.Range(func(any, any) bool { n++; return true })
		return n
	}
	for ctx.Err() == nil && (count(&reads) < 300 || count(&roots) < 20 || switches.Load() < 10) {
		time.Sleep(20 * time.Millisecond)
	}
	cancel()
	all.Wait()
	t.Logf("%d reads under %d roots, %d generations", count(&reads), count(&roots), switches.Load())
	if count(&roots) < 20 || switches.Load() < 10 {
		t.Error("too little happened for this to mean anything")
	}
}

// read reads in one of several ways and checks what comes.
func (s *states) read(f *fixture, kind, n int) (root string, err error) {
	switch kind {
	case 0:
		var e document.Entry
		if err := f.read(fmt.Sprintf("/v1/keys/%s?bytes=utf8&proof=true", key32(n%sameKeys)), &e); err != nil {
			return "", err
		}
		ops := check(f.t, e.Proof, *e.Head)
		if string(ops[0].Key) != e.Key || string(ops[0].Value) != *e.Value {
			return "", fmt.Errorf("%+v proves %+v", e, ops)
		}
		return e.Root, s.check(e.Root, *e.Value)
	case 1:
		seen := 0
		for next := "/v1/keys?bytes=utf8&limit=7&values=true"; next != ""; {
			var page document.Page
			if err := f.read(next, &page); isGone(err) {
				return root, nil // a generation that begins later took its place
			} else if err != nil {
				return "", err
			}
			if root == "" {
				root = page.Root
			}
			if page.Root != root {
				return "", fmt.Errorf("page under %s, first one under %s", page.Root, root)
			}
			for _, e := range page.Keys {
				if err := s.check(root, *e.Value); err != nil {
					return "", err
				}
				seen++
			}
			next = page.Next
		}
		if seen != sameKeys {
			return "", fmt.Errorf("%d keys listed", seen)
		}
		return root, nil
	default:
		var page document.Operations
		if err := f.read("/v1/operations?proof=true&limit=50", &page); err != nil {
			return "", err
		}
		if ops := check(f.t, page.Proof, page.Head); len(ops) != len(page.Operations) {
			return "", fmt.Errorf("%d operations proven, %d shown", len(ops), len(page.Operations))
		}
		return page.Root, nil
	}
}

// read reads a document without ending the test.
func (f *fixture) read(target string, doc any) error {
	w := httptest.NewRecorder()
	f.h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	r := w.Result()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if r.StatusCode == http.StatusOK {
		return json.Unmarshal(body, doc)
	}
	p := new(document.Problem)
	if err := json.Unmarshal(body, p); err != nil {
		return err
	}
	return p
}

func isGone(err error) bool {
	p, ok := errors.AsType[*document.Problem](err)
	return ok && p.Code == document.CodeGone
}
