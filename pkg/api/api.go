// Package api is the HTTP API: reads with proofs, the log, a stream of changes,
// and batches of writes, over one database.
//
//	request ─► door (public or local) ─► route ─► limits ─► compression ─► handler ─► View ─► document
//	                                       │
//	                                       └─ metrics, access log, recovery from panics
//
// Every answer is read from one View that is taken once, and names that view's
// root: a value, a page of a listing and a proof always belong together,
// whatever is committed meanwhile. What an answer looks like is said by
// pkg/document and, for clients, by the OpenAPI document that the API serves.
//
// It does not listen: the handlers are for an http.Server of the caller's.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/proofsync/proofsync/internal/guard"
	"github.com/proofsync/proofsync/pkg/committer"
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
)

// Options configure an API.
type Options struct {
	DB *database.DB

	// Status makes the answer to GET /v1/status, as far as the database does
	// not; nil: that of a server that serves. It is called on every request
	// and must not block. Head and Time are filled in where they are absent.
	Status func() document.Status

	// Committer takes the batches; nil: nobody can write.
	Committer *committer.Committer
	// Token says whether a bearer token allows to write. It is called on every
	// batch, by several goroutines. nil: writes only come through Local.
	Token func(presented string) bool

	// Checkpoint returns the newest signed checkpoint that so many parties have
	// signed, at least 1; nil: there is none. It is called on every request for it
	// and must not block. nil: there never is one.
	Checkpoint func(parties int) []byte
	// CheckpointChanged returns a channel that is closed when Checkpoint may return
	// another one; nil: nobody can wait for that.
	CheckpointChanged func() <-chan struct{}

	Limits Limits
	// Identity is the name that the sender of a request has proved, by a
	// certificate, "" if none; nil: nobody has a name.
	Identity func(*http.Request) string
	// CORSOrigins are the web origins whose pages may use the API, "*" is any;
	// none by default.
	CORSOrigins []string

	// Page is served at "/" and below, where the API has nothing; nil: nothing is.
	Page http.Handler

	Logger  *slog.Logger // nil: discard
	Metrics *Metrics     // nil: counted nowhere
}

// API answers requests from a database. Its handlers are safe for concurrent use.
type API struct {
	db      *database.DB
	o       Options
	limits  Limits
	log     *slog.Logger
	metrics *Metrics
	codec   codec

	mux     *http.ServeMux
	keyPath *route // /v1/keys/{key}, which no mux may clean
	unknown *route // every other path
	backups *route // of the socket only
	routes  []*route
	admit   admission
	cors    cors
	notes   *guard.Log

	history *history
	newest  atomic.Pointer[head] // of the last request, see headOf
	started time.Time

	hub     *watchHub   // of watch.go
	writing batchWriter // of batches.go

	stopping context.Context // done once Shutdown began: streams have to end
	stop     context.CancelFunc
	joined   sync.WaitGroup // goroutines of the API itself
}

// New makes an API of an open database. Shutdown ends it.
func New(o Options) *API {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	a := &API{
		db: o.DB, o: o, limits: o.Limits.withDefaults(), log: o.Logger, metrics: o.Metrics,
		codec: codec{o.DB.Codec()}, cors: newCORS(o.CORSOrigins), notes: guard.NewLog(o.Logger, noteInterval),
		history: newHistory(), started: time.Now(),
	}
	a.stopping, a.stop = context.WithCancel(context.Background())
	a.admit = newAdmission(a.limits, a.metrics)
	a.hub = newWatchHub(a)
	a.writing = newBatchWriter(a)
	a.register()
	a.joined.Go(func() { a.history.run(a.stopping, a.db) })
	return a
}

// Handler is the API for the network.
func (a *API) Handler() http.Handler { return door{a: a} }

// Local is the API for a socket that only those can open who may write: it
// asks for no token and limits no rates. It alone makes backups.
func (a *API) Local() http.Handler { return door{a: a, local: true} }

// Shutdown ends every stream, each with an event that says why, and waits for
// what the API runs by itself. Requests go on being answered; the http.Server's
// own Shutdown waits for those, and has to come after, or it waits for streams
// that do not end. The error is that of ctx.
func (a *API) Shutdown(ctx context.Context) error {
	a.stop()
	done := make(chan struct{})
	go func() {
		a.hub.drain()
		a.joined.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// door is one way in.
type door struct {
	a     *API
	local bool
}

func (d door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.a.route(r, d.local).serve(w, r, d.local)
}

// localKey marks requests that came through Local.
type localKey struct{}

// isLocal says whether r came through Local.
func isLocal(r *http.Request) bool { return r.Context().Value(localKey{}) != nil }
