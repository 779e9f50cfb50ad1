package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"golang.org/x/sync/semaphore"

	"github.com/proofsync/proofsync/pkg/committer"
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/space"
)

// batchWriter is what POST /v1/batches has of its own.
type batchWriter struct {
	// bodies is the memory for bodies that are not small, in bytes: a document
	// may take its size, a stream what one commit of it may have.
	bodies *semaphore.Weighted
	room   int64
}

// smallBody is the size up to which a body counts as part of its request.
const smallBody = 64 << 10

func newBatchWriter(a *API) batchWriter {
	room := max(8*a.limits.BodyBytes, 64<<20)
	return batchWriter{bodies: semaphore.NewWeighted(room), room: room}
}

type batchMetrics struct {
	writes       prometheus.Counter
	unauthorized prometheus.Counter
	streams      prometheus.Gauge
}

func newBatchMetrics(f promauto.Factory) batchMetrics {
	return batchMetrics{
		writes: f.NewCounter(prometheus.CounterOpts{
			Name: "proofsync_http_writes_total",
			Help: "Writes that were committed for HTTP requests, those of replayed batches not counted.",
		}),
		unauthorized: f.NewCounter(prometheus.CounterOpts{
			Name: "proofsync_http_unauthorized_total",
			Help: "Batches refused because their bearer token was missing or wrong.",
		}),
		streams: f.NewGauge(prometheus.GaugeOpts{
			Name: "proofsync_http_write_streams",
			Help: "Streams of writes being read.",
		}),
	}
}

// The media types of batches.
const (
	typeJSON  = "application/json"
	typeLines = "application/x-ndjson"
)

// batches answers POST /v1/batches: one batch as a JSON document, or a stream
// of writes as JSON Lines.
func (a *API) batches(w http.ResponseWriter, r *http.Request) {
	if err := a.takeBatches(w, r); err != nil {
		a.extend(w)
		a.fail(w, r, err)
	}
}

func (a *API) takeBatches(w http.ResponseWriter, r *http.Request) error {
	if err := a.mayWrite(r); err != nil {
		return err
	}
	if a.o.Status != nil && a.o.Status().State == document.StateStarting {
		// Nobody would commit: the batch would be waiting until that is over.
		return document.NewProblem(document.CodeUnavailable, "the server is being filled and takes no writes yet; nothing was written")
	}
	key, err := idempotencyKey(r)
	if err != nil {
		return err
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		kind = ""
	}
	switch kind {
	case typeJSON:
		return a.takeDocument(w, r, key)
	case typeLines, "application/jsonl":
		return a.takeLines(w, r, key)
	}
	w.Header().Set("Accept-Post", typeJSON+", "+typeLines)
	return document.NewProblem(document.CodeUnsupportedType,
		"Content-Type %.80q: %s for one batch, or %s for a stream of writes expected", r.Header.Get("Content-Type"), typeJSON, typeLines)
}

// mayWrite says whether a request may write at all.
func (a *API) mayWrite(r *http.Request) error {
	local := isLocal(r)
	switch {
	case a.o.Committer == nil:
		return document.NewProblem(document.CodeWritesDisabled, "this process takes no writes")
	case local:
		return nil
	case a.o.Token == nil:
		return document.NewProblem(document.CodeWritesDisabled, "this process takes no writes over the network: it was started without a token file")
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || !a.o.Token(strings.TrimSpace(token)) {
		a.metrics.batch.unauthorized.Inc()
		return document.NewProblem(document.CodeUnauthorized, "writing needs the header Authorization: Bearer TOKEN, with the token this process was given")
	}
	return nil
}

// idempotencyKey is the header of that name; "": there is none.
func idempotencyKey(r *http.Request) (string, error) {
	given := r.Header.Values("Idempotency-Key")
	if len(given) == 0 {
		return "", nil
	}
	key := given[0]
	ok := len(given) == 1 && len(key) >= 1 && len(key) <= 255
	for i := range len(key) {
		ok = ok && key[i] >= ' ' && key[i] <= '~'
	}
	if !ok {
		return "", document.NewProblem(document.CodeInvalidRequest, "Idempotency-Key: one value of 1 to 255 printable ASCII characters expected")
	}
	return key, nil
}

// takeDocument commits a document.Batch.
func (a *API) takeDocument(w http.ResponseWriter, r *http.Request, key string) error {
	p, err := parseParams(r, "bytes")
	if err != nil {
		return err
	}
	release, err := a.bodyRoom(r, a.limits.BodyBytes)
	if err != nil {
		return err
	}
	defer release()
	body, err := a.readBody(w, r)
	if err != nil {
		return err
	}
	batch, err := decodeBatch(body, &p)
	if err != nil {
		return err
	}
	if key != "" {
		h := sha256.New()
		h.Write([]byte(typeJSON + "\n" + p.form + "\n"))
		h.Write(body)
		batch.IdempotencyKey, batch.Fingerprint = key, [32]byte(h.Sum(nil))
	}
	res, err := a.commit(r.Context(), batch)
	if err != nil {
		return a.batchProblem(err, batch.Writes, p.form)
	}
	if !res.Replayed {
		a.metrics.batch.writes.Add(float64(len(batch.Writes)))
	}
	return a.committed(w, r, document.Committed{
		Root: res.Root.String(), Size: res.Size, Location: res.Location,
		Operations: res.Operations, Writes: len(batch.Writes), Commits: 1, Replayed: res.Replayed,
	})
}

// errLate: a batch was not committed in the time of a request.
var errLate = errors.New("no answer from the committer in time")

// commit hands a batch to the committer and waits for it no longer than a
// request may take.
func (a *API) commit(ctx context.Context, b committer.Batch) (committer.Result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, a.limits.RequestTime, errLate)
	defer cancel()
	res, err := a.o.Committer.Commit(ctx, b)
	if errors.Is(err, context.DeadlineExceeded) && errors.Is(context.Cause(ctx), errLate) {
		err = errLate
	}
	return res, err
}

// committed answers with what was made durable.
func (a *API) committed(w http.ResponseWriter, r *http.Request, c document.Committed) error {
	a.extend(w)
	if v, err := a.db.View(); err == nil {
		w.Header().Set("ETag", etagOf(c.Root, v.Start()))
		v.Close()
	}
	return respondOften(w, r, &document.Head{Root: c.Root, Size: c.Size}, &c)
}

// bodyRoom waits for memory for the body of r, of which most bytes are held at
// once.
func (a *API) bodyRoom(r *http.Request, most int64) (release func(), err error) {
	need := min(most, a.writing.room)
	if r.ContentLength >= 0 && r.Header.Get("Content-Encoding") == "" {
		need = min(need, r.ContentLength)
	}
	if need <= smallBody {
		return func() {}, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), a.limits.RequestTime/2)
	defer cancel()
	if a.writing.bodies.Acquire(ctx, need) != nil {
		a.metrics.refuse("bodies")
		return nil, document.NewProblem(document.CodeUnavailable, "too many large batches are being taken")
	}
	return func() { a.writing.bodies.Release(need) }, nil
}

// batchProblem puts an error of the committer into the words of the API.
// writes are those of the batch, whose keys the request wrote as f.
func (a *API) batchProblem(err error, writes []committer.Write, f document.Bytes) *document.Problem {
	keyOf := func(i int) string {
		text, _ := f.Encode(writes[i].Key) // which was read in that form
		return text
	}
	if pre, ok := errors.AsType[*committer.PreconditionError](err); ok {
		p := document.NewProblem(document.CodePrecondition, "%s", pre)
		if pre.Index >= 0 {
			p.Key = keyOf(pre.Index)
		}
		if s := pre.Got.State; !pre.Got.InGroup {
			p.Head = &document.Head{Root: s.Root.String(), Size: s.Size, Floor: s.Floor, Start: s.Start}
		}
		return p
	}
	if errors.Is(err, errLate) {
		return document.NewProblem(document.CodeUnavailable,
			"the batch was not committed within %s, which other batches or the disk are the reason for; it may still be committed: retry with the same Idempotency-Key, or look at its keys if there was none", a.limits.RequestTime)
	}
	if low, ok := errors.AsType[*space.LowError](err); ok {
		return document.NewProblem(document.CodeDiskFull,
			"%s; the batch was not written, and reading goes on: send it again when there is space", low)
	}
	if damage := a.db.Damage(); damage != nil && errors.Is(err, committer.ErrClosed) {
		return a.problemOf(damage.Err, nil) // nobody commits any more because of it
	}
	var code document.Code
	switch {
	case errors.Is(err, committer.ErrImmutable):
		code = document.CodeImmutable
	case errors.Is(err, committer.ErrDuplicate):
		code = document.CodeDuplicateKey
	case errors.Is(err, committer.ErrReused):
		code = document.CodeKeyReused
	case errors.Is(err, committer.ErrConditions), errors.Is(err, committer.ErrPart), errors.Is(err, operation.ErrKind):
		code = document.CodeInvalidRequest
	case errors.Is(err, operation.ErrTooLarge):
		code = document.CodeTooLarge
	case errors.Is(err, operation.ErrKeySize):
		code = document.CodeInvalidKey
	case errors.Is(err, operation.ErrValueSize):
		code = document.CodeInvalidValue
	case errors.Is(err, database.ErrFloor), errors.Is(err, operation.ErrFloor):
		code = document.CodeFloor
	case errors.Is(err, committer.ErrClosed), errors.Is(err, committer.ErrKeysFull):
		code = document.CodeUnavailable
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		code = document.CodeTimeout
	default:
		return a.problemOf(err, nil)
	}
	p := document.NewProblem(code, "%s", err)
	if e, ok := errors.AsType[*committer.WriteError](err); ok {
		p.Key = keyOf(e.Index)
	}
	return p
}

// parseRoot reads a root as answers write it.
func parseRoot(s string) (*mmr.Digest, error) {
	d, err := mmr.ParseDigest(s)
	if err != nil || d.String() != s {
		return nil, document.NewProblem(document.CodeInvalidRequest, "if_root %.80q: %s lower-case hexadecimal digits expected", s, strconv.Itoa(2*mmr.DigestSize))
	}
	return &d, nil
}
