package api

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"net/http"
)

// openAPI describes this API for programs, and is what it is tested against.
//
//go:embed openapi.json
var openAPI []byte

// OpenAPI is the OpenAPI document that is served; it is not to be changed.
func OpenAPI() []byte { return openAPI }

// indexDocument lists what there is.
var indexDocument = []byte(`{
  "api": "proofsync",
  "version": "v1",
  "links": {
    "openapi": "/v1/openapi.json",
    "status": "/v1/status",
    "checkpoint": "/v1/checkpoint",
    "keys": "/v1/keys",
    "operations": "/v1/operations",
    "commits": "/v1/commits",
    "watch": "/v1/watch",
    "batches": "/v1/batches"
  }
}
`)

func (a *API) openapi(w http.ResponseWriter, r *http.Request) error { return fixed(w, r, openAPI) }

func (a *API) index(w http.ResponseWriter, r *http.Request) error { return fixed(w, r, indexDocument) }

// fixed sends a document that only changes with the program.
func fixed(w http.ResponseWriter, r *http.Request, doc []byte) error {
	if _, err := parseParams(r); err != nil {
		return err
	}
	sum := sha256.Sum256(doc)
	etag := `"` + hex.EncodeToString(sum[:16]) + `"`
	w.Header()["Etag"] = []string{etag}
	w.Header()["Cache-Control"] = noCache
	if etagMatches(r.Header["If-None-Match"], etag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	send(w, r, doc)
	return nil
}

// page answers what the API has nothing for. That a file is missing is a
// problem like any other.
func (a *API) page(w http.ResponseWriter, r *http.Request) error {
	p := &pageWriter{ResponseWriter: w}
	a.o.Page.ServeHTTP(p, r)
	if p.missing {
		for _, name := range []string{"Content-Type", "Content-Length", "Last-Modified", "Cache-Control"} {
			w.Header().Del(name)
		}
		return nothing(w, r)
	}
	return nil
}

// pageWriter holds back that there is nothing.
type pageWriter struct {
	http.ResponseWriter
	missing bool
}

func (w *pageWriter) WriteHeader(status int) {
	if w.missing = w.missing || status == http.StatusNotFound; !w.missing {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *pageWriter) Write(b []byte) (int, error) {
	if w.missing {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *pageWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
