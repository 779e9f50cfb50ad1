package api

import (
	"net/http"
	"slices"
)

// cors lets pages of other origins use the API.
type cors struct{ origins []string }

func newCORS(origins []string) cors { return cors{origins: origins} }

func (c cors) enabled() bool { return len(c.origins) > 0 }

// answer adds the headers for browsers, and answers what they ask beforehand.
// Credentials never go along by themselves: a token is a page's to send.
func (c cors) answer(w http.ResponseWriter, r *http.Request) (done bool) {
	h := w.Header()
	origin := r.Header.Get("Origin")
	if slices.Contains(c.origins, "*") {
		h.Set("Access-Control-Allow-Origin", "*")
	} else {
		h.Add("Vary", "Origin")
		if slices.Contains(c.origins, origin) {
			h.Set("Access-Control-Allow-Origin", origin)
		}
	}
	h.Set("Access-Control-Expose-Headers", "ETag, Proofsync-Root, Proofsync-Size, Retry-After")
	if r.Method != http.MethodOptions {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID")
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}
