package remote

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"testing"

	"github.com/proofsync/proofsync/pkg/document"
)

// A listing gets on with every page, or ends: a server must not be able to keep
// its reader busy for ever with pages that lead back to earlier ones.
func TestPagesThatLeadBackEndTheListing(t *testing.T) {
	ends := func(t *testing.T, name string, list func(*Client) error, body string, nexts ...string) {
		t.Helper()
		asked := 0
		c := stand(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"bytes":"base64url","root":"aa","size":5,"floor":0,"start":0,%s,"next":%q}`, body, nexts[asked%len(nexts)])
			if asked++; asked > 10*len(nexts) {
				panic(http.ErrAbortHandler) // the reader has lost
			}
		})
		if err := list(c); !errors.Is(err, ErrAnswer) || asked > len(nexts)+1 {
			t.Errorf("%s: %d pages, then %v", name, asked, err)
		}
	}
	keys := func(c *Client) error { return last(c.List(t.Context(), ListOptions{})) }
	operations := func(c *Client) error { return last(c.Operations(t.Context(), OperationsOptions{})) }
	commits := func(c *Client) error { return last(c.Commits(t.Context(), CommitsOptions{})) }
	ends(t, "keys", keys, `"keys":[]`, "/v1/keys?after=YQ", "/v1/keys?after=Yg")
	ends(t, "keys, the first page", keys, `"keys":[]`, "/v1/keys?after=YQ", "/v1/keys?limit=1")
	ends(t, "keys, another parameter", keys, `"keys":[]`, "/v1/keys?after=YQ", "/v1/keys?after=YQ&limit=1", "/v1/keys?after=YQ&limit=2")
	ends(t, "keys, two positions", keys, `"keys":[]`, "/v1/keys?after=YQ&after=Yg")
	ends(t, "operations", operations, `"operations":[]`, "/v1/operations?start=7", "/v1/operations?start=10", "/v1/operations?start=9")
	ends(t, "operations, no number", operations, `"operations":[]`, "/v1/operations?start=-1")
	ends(t, "commits", commits, `"commits":[]`, "/v1/commits?before=10", "/v1/commits?before=7", "/v1/commits?before=9")
	ends(t, "commits of other listings", commits, `"commits":[]`, "/v1/keys?before=1")
}

// last reads all there is and returns how it ended.
func last[T any](all iter.Seq2[*T, error]) (err error) {
	for _, err = range all {
	}
	return err
}

// Empty pages are pages: a server may look at so much of the log at a time.
func TestEmptyPagesAreFollowed(t *testing.T) {
	c := stand(t, func(w http.ResponseWriter, r *http.Request) {
		const head = `{"bytes":"base64url","root":"aa","size":5,"floor":0,"start":0,`
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Query().Get("before") {
		case "":
			io.WriteString(w, head+`"commits":[],"next":"/v1/commits?before=4"}`)
		case "4":
			io.WriteString(w, head+`"commits":[],"next":"/v1/commits?before=2"}`)
		default:
			io.WriteString(w, head+`"commits":[{"size":1}]}`)
		}
	})
	var got []document.Commit
	for commit, err := range c.Commits(t.Context(), CommitsOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, *commit)
	}
	if len(got) != 1 || got[0].Size != 1 {
		t.Errorf("got %+v", got)
	}
}
