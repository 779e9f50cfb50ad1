package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/proofsync/proofsync/pkg/document"
)

// keysPath is what comes before a key in a path.
const keysPath = "/v1/keys/"

// handler answers a request, or says why not with an error: a
// *document.Problem, or one of the database's, see problemOf. It must not have
// written anything then.
type handler func(w http.ResponseWriter, r *http.Request) error

// route is a path and what can be done with it.
type route struct {
	a       *API
	path    string              // as in the OpenAPI document; label of metrics
	methods map[string]handler  // HEAD goes to GET's
	allow   string              // for the header Allow
	stream  bool                // answers without an end: counted and limited on its own
	writes  bool                // limited apart from what reads
	packed  http.Handler        // run behind compression; nil: never compressed
	counts  map[string]*counted // by method, of those allowed
	other   *counted            // of other methods
}

// register makes the routes. Every one of them is in the OpenAPI document, but
// for what only the socket has.
func (a *API) register() {
	a.mux = http.NewServeMux()
	get := func(h handler) map[string]handler { return map[string]handler{http.MethodGet: h} }
	for path, h := range map[string]handler{
		"/v1":              a.index,
		"/v1/openapi.json": a.openapi,
		"/v1/status":       a.status,
		"/v1/keys":         a.keys,
		"/v1/operations":   a.operations,
		"/v1/commits":      a.commits,
	} {
		a.mux.Handle(path, a.add(&route{path: path, methods: get(h)}, true))
	}
	a.mux.Handle("/v1/checkpoint", a.add(&route{path: "/v1/checkpoint", methods: get(a.checkpoint)}, false))
	a.mux.Handle("/v1/watch", a.add(&route{path: "/v1/watch", methods: get(plain(a.watch)), stream: true}, false))
	a.mux.Handle("/v1/batches", a.add(&route{
		path: "/v1/batches", methods: map[string]handler{http.MethodPost: plain(a.batches)}, writes: true,
	}, false))
	a.keyPath = a.add(&route{path: keysPath + "{key}", methods: get(a.key)}, true)
	a.unknown = a.add(&route{path: "", methods: get(nothing)}, false)
	if a.o.Page != nil {
		a.unknown = a.add(&route{path: "/", methods: get(a.page)}, true)
	}
	a.backups = a.newRoute(&route{path: backupPath, methods: map[string]handler{http.MethodPost: a.backup}}, false)
}

func (a *API) add(t *route, compress bool) *route {
	a.routes = append(a.routes, a.newRoute(t, compress))
	return t
}

func (a *API) newRoute(t *route, compress bool) *route {
	t.a = a
	methods := make([]string, 0, len(t.methods)+2)
	for m := range t.methods {
		methods = append(methods, m)
	}
	if _, ok := t.methods[http.MethodGet]; ok {
		methods = append(methods, http.MethodHead)
	}
	t.counts = make(map[string]*counted, len(methods))
	for _, m := range methods {
		t.counts[m] = a.metrics.of(t.path, m)
	}
	t.other = a.metrics.of(t.path, "other")
	if a.cors.enabled() {
		methods = append(methods, http.MethodOptions)
	}
	slices.Sort(methods)
	t.allow = strings.Join(methods, ", ")
	if compress {
		t.packed = compressed(t.run)
	}
	return t
}

// route finds the route of a request. Keys are any bytes, and a mux would
// redirect a key like a//b to another one; so the mux never sees them. Where it
// would redirect other paths, there is nothing.
func (a *API) route(r *http.Request, local bool) *route {
	if local && r.URL.Path == backupPath {
		return a.backups
	}
	if strings.HasPrefix(r.URL.Path, keysPath) && (r.URL.RawPath == "" || strings.HasPrefix(r.URL.RawPath, keysPath)) {
		return a.keyPath
	}
	if h, _ := a.mux.Handler(r); h != nil {
		if t, ok := h.(*route); ok {
			return t
		}
	}
	return a.unknown
}

// ServeHTTP makes a route something a mux can hold. Requests go to serve.
func (t *route) ServeHTTP(w http.ResponseWriter, r *http.Request) { t.serve(w, r, false) }

// plain makes a handler of one that answers errors itself.
func plain(h http.HandlerFunc) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		h(w, r)
		return nil
	}
}

// handlerOf is the handler of a method; nil: the route has none.
func (t *route) handlerOf(method string) handler {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	return t.methods[method]
}

// nothing answers paths that do not exist.
func nothing(_ http.ResponseWriter, r *http.Request) error {
	return document.NewProblem(document.CodeNotFound, "there is nothing at %.80q; GET /v1 lists what there is", r.URL.Path)
}
