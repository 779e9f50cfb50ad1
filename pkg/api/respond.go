package api

import (
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzhttp"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/mmr"
)

// Values of headers, made once; nobody changes them.
var (
	jsonType = []string{"application/json"}
	noCache  = []string{"no-cache"} // keep it, but ask whether it is still right
	noStore  = []string{"no-store"}
)

// head is a state that answers name, in the forms they need it in.
type head struct {
	document.Head
	root mmr.Digest
	etag string
	// Of headers, shared by all answers; nobody changes them.
	etagHeader, rootHeader, sizeHeader []string
}

// etagOf is the tag of what is read under a root. Where the log is not held
// from its beginning, other answers may come than elsewhere under that root.
func etagOf(root string, start uint64) string {
	if start == 0 {
		return `"` + root + `"`
	}
	return `"` + root + "-" + strconv.FormatUint(start, 10) + `"`
}

// headOf is the head of a view. Most requests read the same one.
func (a *API) headOf(v *database.View) *head {
	if h := a.newest.Load(); h != nil && h.root == v.Root() && h.Size == v.Size() && h.Start == v.Start() {
		return h
	}
	root := v.Root().String()
	h := &head{
		Head: document.Head{Root: root, Size: v.Size(), Floor: v.Floor(), Start: v.Start()},
		root: v.Root(), etag: etagOf(root, v.Start()),
		rootHeader: []string{root}, sizeHeader: []string{strconv.FormatUint(v.Size(), 10)},
	}
	h.etagHeader = []string{h.etag}
	a.newest.Store(h)
	return h
}

// etagMatches says whether one of the tags of If-None-Match is that of the
// state, whatever coding it was sent in: the tag names the state, so a client that
// has it has this answer. The comparison is weak (RFC 9110 section 13.1.2).
func etagMatches(header []string, etag string) bool {
	for _, line := range header {
		for one := range strings.SplitSeq(line, ",") {
			one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
			if one == "*" || one == etag {
				return true
			}
			for _, coding := range []string{`-gzip"`, `-zstd"`} {
				if bare, ok := strings.CutSuffix(one, coding); ok && bare == etag[:len(etag)-1] {
					return true
				}
			}
		}
	}
	return false
}

// compressed answers in the coding that a client prefers, of those we have, if
// the answer is worth it. The tag of a compressed answer is another, as it has to be.
func compressed(h http.HandlerFunc) http.Handler {
	wrap, err := gzhttp.NewWrapper(
		gzhttp.MinSize(1024),
		gzhttp.SuffixETag("-gzip"), // which it makes -zstd where that is the coding
		gzhttp.ContentTypes([]string{
			"application/json", document.ProblemType, "text/html", "text/css", "text/plain",
			"text/javascript", "application/javascript", "image/svg+xml",
		}),
	)
	if err != nil { // the options are constants
		panic(err)
	}
	return wrap(h)
}

// respond sends a document that was read under h, or that the client has it
// already. body is the caller's again afterwards.
func respond(w http.ResponseWriter, r *http.Request, h *head, body []byte) {
	hs := w.Header()
	hs["Etag"] = h.etagHeader
	hs["Cache-Control"] = noCache
	hs["Proofsync-Root"] = h.rootHeader
	hs["Proofsync-Size"] = h.sizeHeader
	if known := r.Header["If-None-Match"]; known != nil && etagMatches(known, h.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	send(w, r, body)
}

// respondOften is respond for documents that differ under the same root: they
// have no tag and are not to be kept.
func respondOften(w http.ResponseWriter, r *http.Request, h *document.Head, doc any) error {
	body, err := document.Marshal(doc)
	if err != nil {
		return err
	}
	hs := w.Header()
	hs["Cache-Control"] = noStore
	if h != nil {
		hs["Proofsync-Root"] = []string{h.Root}
		hs["Proofsync-Size"] = []string{strconv.FormatUint(h.Size, 10)}
	}
	send(w, r, body)
	return nil
}

// send sends JSON.
func send(w http.ResponseWriter, r *http.Request, body []byte) {
	hs := w.Header()
	hs["Content-Type"] = jsonType
	if len(body) > selfCounted || r.Method == http.MethodHead {
		hs["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // who does not read an answer is gone
	}
}

// selfCounted is the size in bytes up to which the http.Server says by itself how
// long a body is, which is cheaper than a header of ours. It holds that much back.
const selfCounted = 2048

// Answers are built in memory, so that what goes wrong on the way can still be
// said. Buffers are used again, but for those of extraordinary values.
const keptBuffer = 8 << 20

// buffer holds an answer in the making, and the operations it is made of.
type buffer struct {
	body []byte
	raw  []byte
}

var buffers = sync.Pool{New: func() any { return &buffer{body: make([]byte, 0, 2048)} }}

func getBuffer() *buffer {
	b, _ := buffers.Get().(*buffer)
	b.body, b.raw = b.body[:0], b.raw[:0]
	return b
}

func putBuffer(b *buffer) {
	if cap(b.body) <= keptBuffer && cap(b.raw) <= keptBuffer {
		buffers.Put(b)
	}
}
