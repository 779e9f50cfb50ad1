package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"testing"
	"time"

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

// numbered answers listings of commits with pages of one element, at 9, 8 and so on down to 1.
// It tells of every request, which ends when ask returns.
func numbered(t *testing.T, ask func(r *http.Request, page int)) *Client {
	return stand(t, func(w http.ResponseWriter, r *http.Request) {
		at := 9
		if text := r.URL.Query().Get("before"); text != "" {
			if _, err := fmt.Sscan(text, &at); err != nil {
				t.Error(err)
			}
		}
		ask(r, 10-at)
		w.Header().Set("Content-Type", "application/json")
		next := ""
		if at > 1 {
			next = fmt.Sprintf(`,"next":"/v1/commits?before=%d"`, at-1)
		}
		fmt.Fprintf(w, `{"bytes":"base64url","root":"aa","size":9,"floor":0,"start":0,"commits":[{"size":%d}]%s}`, at, next)
	})
}

// While somebody works on a page, the next one is on its way: from the second one
// on, as many want the first one only.
func TestTheNextPageIsFetchedWhileOneIsRead(t *testing.T) {
	asked := make(chan int, 10)
	c := numbered(t, func(_ *http.Request, page int) { asked <- page })
	wait := func(want int) {
		select {
		case page := <-asked:
			if page != want {
				t.Fatalf("page %d is asked for, not %d", page, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("page %d is not asked for", want)
		}
	}
	want := uint64(9)
	for x, err := range c.Commits(t.Context(), CommitsOptions{}) {
		if err != nil || x.Size != want {
			t.Fatal(x, err, want)
		}
		switch page := int(10 - want); page {
		case 1:
			wait(1)
			if len(asked) != 0 {
				t.Error("the second page is asked for while the first one is read")
			}
		case 2:
			wait(2)
			wait(3)
		case 9: // the last one
		default:
			wait(page + 1)
			if len(asked) != 0 {
				t.Errorf("more than one page is fetched ahead of page %d", page)
			}
		}
		want--
	}
	if want != 0 || len(asked) != 0 {
		t.Errorf("ended at %d, with %d requests too many", want, len(asked))
	}
}

// Whoever leaves a listing does not wait for a page that comes late, and leaves nothing running.
func TestAListingThatIsLeftEndsThePageOnItsWay(t *testing.T) {
	ahead, gone := make(chan struct{}), make(chan struct{})
	c := numbered(t, func(r *http.Request, page int) {
		if page == 3 {
			close(ahead)
			<-r.Context().Done()
			close(gone)
		}
	})
	c.opts.Timeout = -1 // nothing else would end the request
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for x, err := range c.Commits(ctx, CommitsOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if x.Size == 8 {
			select {
			case <-ahead:
			case <-ctx.Done():
				t.Fatal("no page is on its way")
			}
			break
		}
	}
	if ctx.Err() != nil {
		t.Error("the listing waited for its page")
	}
	<-gone
}
