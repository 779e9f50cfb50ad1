// Package page is the status page: one look says whether a server or a replica
// is in step, and a key can be looked up and its proof checked in the browser.
//
//	GET /           the page, with all its facts in it      ─┐ asks the API in process
//	GET /?key=…     the same with the value of a key        ─┘
//	GET /page/…     script, style, icon                        embedded, with ETags
//	/v1/…           what the script asks for from then on      the API's
//
// Without scripts the page says as much, once. With them it lives: new roots
// come by server-sent events, the state of a sync by asking for it. It needs no
// build step and nothing from elsewhere, and its content security policy lets
// it have nothing else.
//
// The proof is checked by verify.js, the counterpart of package verify, against
// the root that the page had before it asked.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"log/slog"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// policy allows what is served from here, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

//go:embed static
var static embed.FS

// assetsPath is what the paths of embedded files begin with.
const assetsPath = "/page/"

// Options configure a page.
type Options struct {
	// API is the handler of the API whose status the page shows. It is called
	// on every request, so that the API can be made after its page; the page
	// asks it for nothing but GET /v1/status, /v1/commits and /v1/keys/{key}.
	API func() http.Handler
	// Logger hears of a page that could not be rendered. nil: discard.
	Logger *slog.Logger
}

// handler serves the page.
type handler struct {
	o        Options
	template *template.Template
	assets   map[string]asset // by name
}

type asset struct {
	body        []byte
	contentType string
	etag        string
}

// Handler returns the page, for "/" and "/page/"; it answers 404 elsewhere.
func Handler(o Options) http.Handler {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	h := &handler{o: o, assets: map[string]asset{}}
	// The files are part of the program: one that is missing or does not parse
	// fails every test.
	h.template = template.Must(template.New("index.html").Funcs(functions).ParseFS(static, "static/index.html"))
	files, err := static.ReadDir("static")
	if err != nil {
		panic(err)
	}
	for _, f := range files {
		body, err := static.ReadFile("static/" + f.Name())
		if err != nil {
			panic(err)
		}
		if f.Name() != "index.html" {
			sum := sha256.Sum256(body)
			h.assets[f.Name()] = asset{body, contentType(f.Name()), `"` + hex.EncodeToString(sum[:12]) + `"`}
		}
	}
	return h
}

// contentType does not depend on what the system's tables say.
func contentType(name string) string {
	switch ext := path.Ext(name); ext {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	default:
		return mime.TypeByExtension(ext)
	}
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, isAsset := strings.CutPrefix(r.URL.Path, assetsPath)
	a, known := h.assets[name]
	switch {
	case r.URL.Path != "/" && !(isAsset && known):
		http.NotFound(w, r)
		return
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this page is read only", http.StatusMethodNotAllowed)
		return
	}
	header := w.Header()
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	if isAsset {
		a.serve(w, r)
		return
	}
	var page bytes.Buffer
	if err := h.template.Execute(&page, h.facts(r)); err != nil {
		h.o.Logger.Error("status page not rendered", "error", err)
		http.Error(w, "the page could not be rendered", http.StatusInternalServerError)
		return
	}
	// It says how things are now.
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "text/html; charset=utf-8")
	write(w, r, page.Bytes())
}

// serve sends a file, or that the browser's copy is still right. Browsers ask
// every time: a page of one version with a script of another would be worse.
func (a asset) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("ETag", a.etag)
	header.Set("Cache-Control", "no-cache")
	for tag := range strings.SplitSeq(strings.Join(r.Header.Values("If-None-Match"), ","), ",") {
		if tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/"); tag == a.etag || tag == "*" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	header.Set("Content-Type", a.contentType)
	write(w, r, a.body)
}

func write(w http.ResponseWriter, r *http.Request, body []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		// It fails when the browser is gone; there is nobody to tell.
		_, _ = w.Write(body)
	}
}
