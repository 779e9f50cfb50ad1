package remote

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/proofsync/proofsync/pkg/api"
	"github.com/proofsync/proofsync/pkg/committer"
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/operation"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// served is a database of any/variable behind the real API.
type served struct {
	*httptest.Server
	db  *database.DB
	api *api.API
}

const token = "a-token-of-some-length"

// serve starts one. around may put something before the API.
func serve(t testing.TB, around func(http.Handler) http.Handler) *served {
	t.Helper()
	db, err := database.Open(t.TempDir(), database.Options{Codec: operation.NewCodec(operation.Any, operation.Variable), CreateIfMissing: true})
	if err != nil {
		t.Fatal(err)
	}
	c, err := committer.New(db, committer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	s := &served{db: db, api: api.New(api.Options{DB: db, Committer: c, Token: func(given string) bool { return given == token }})}
	h := s.api.Handler()
	if around != nil {
		h = around(h)
	}
	s.Server = httptest.NewServer(h)
	t.Cleanup(func() {
		if err := s.api.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		s.Server.Close()
		cancel()
		<-ended
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// client is one of the server, whose pauses are short.
func (s *served) client(t testing.TB, o Options) *Client {
	t.Helper()
	return dial(t, s.URL, o)
}

func dial(t testing.TB, address string, o Options) *Client {
	t.Helper()
	if o.Token == "" {
		o.Token = token
	}
	c, err := New(address, o)
	if err != nil {
		t.Fatal(err)
	}
	c.pause = backoff{time.Millisecond, 5 * time.Millisecond}
	t.Cleanup(c.Close)
	return c
}

// stand answers every request with h, as an API that does what no good one does.
func stand(t testing.TB, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return dial(t, s.URL, Options{Timeout: 5 * time.Second})
}

func code(err error) document.Code {
	if p, ok := errors.AsType[*document.Problem](err); ok {
		return p.Code
	}
	return ""
}

// fill writes keys one commit each and returns the sizes.
func fill(t testing.TB, c *Client, pairs ...string) (sizes []uint64) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		done, err := c.Put(t.Context(), []byte(pairs[i]), []byte(pairs[i+1]))
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, done.Size)
	}
	return sizes
}
