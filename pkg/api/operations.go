package api

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

const (
	// maxOperations is the largest page of the log.
	maxOperations = 10_000
	// operationBytes is how many bytes of encoded operations a page has at
	// most, but for a single larger one. Written out they are up to twice as
	// many, and half as many again in a proof.
	operationBytes = 2 << 20
)

// operations answers GET /v1/operations.
func (a *API) operations(w http.ResponseWriter, r *http.Request) error {
	p, err := parseParams(r, "at_size", "bytes", "limit", "proof", "start")
	if err != nil {
		return err
	}
	limit, err := p.limit(maxOperations)
	if err != nil {
		return err
	}
	proof, err := p.flag("proof")
	if err != nil {
		return err
	}
	start, given, err := p.number("start", 0, maxNumber)
	if err != nil {
		return err
	}
	held, err := a.admit.page(r.Context())
	if err != nil {
		return err
	}
	defer func() { held.release() }()
	v, err := a.view(&p)
	if err != nil {
		return err
	}
	defer v.Close()
	h := a.headOf(v)
	if !given {
		start = h.Start
	}
	if start > h.Size || proof && start == h.Size {
		p := document.NewProblem(document.CodeBeyond, "start=%d: the log ends at %d", start, h.Size)
		p.Head = &h.Head
		return p
	}
	b := getBuffer()
	defer putBuffer(b)
	end := min(h.Size, start+uint64(limit))
	run, err := a.read(b, v, start, end, operationBytes)
	if err != nil {
		return a.problemOf(err, &h.Head)
	}
	end = start + uint64(run.Len())
	b.body = append(appendHead(appendOpening(b.body, p.form), h), `,"operations":[`...)
	if err := a.appendRun(b, p.form, start, run); err != nil {
		return a.problemOf(err, &h.Head)
	}
	b.body = append(b.body, ']')
	if end < h.Size {
		b.body = appendNext(b.body, p.link("/v1/operations", "start", strconv.FormatUint(end, 10), "at_size", strconv.FormatUint(h.Size, 10)))
	}
	if proof {
		b.body = append(b.body, `,"proof":`...)
		if err := a.proveRun(b, v, h, start, run); err != nil {
			return a.problemOf(err, &h.Head)
		}
	}
	b.body = append(b.body, '}', '\n')
	if len(b.body) < largeAnswer {
		held.release()
		held = seat{}
	}
	respond(w, r, h, b.body)
	return nil
}

// appendRun writes the decoded operations of a run.
func (a *API) appendRun(b *buffer, f document.Bytes, start uint64, run operation.Run) error {
	for i := range run.Len() {
		loc := start + uint64(i)
		op, err := a.codec.Decode(run.At(i))
		if err != nil {
			return a.undecodable(loc, err)
		}
		if i > 0 {
			b.body = append(b.body, ',')
		}
		if b.body, err = appendOperation(b.body, f, loc, op); err != nil {
			return fmt.Errorf("the operation at location %d is %w", loc, err)
		}
	}
	return nil
}

// read reads operations of [start, end), at least one if there are any, into b.
func (a *API) read(b *buffer, v *database.View, start, end uint64, most int) (operation.Run, error) {
	raw, n, err := v.AppendOperations(b.raw[:0], start, end, most)
	b.raw = raw
	if err != nil {
		return operation.Run{}, err
	}
	run, rest, err := a.codec.Split(raw, n)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes too many", len(rest))
	}
	if err != nil {
		return run, a.undecodable(start, err)
	}
	return run, nil
}

// undecodable is corruption: what was stored was encoded by us.
func (a *API) undecodable(loc uint64, err error) error {
	return &store.CorruptError{Where: fmt.Sprintf("%s, operations from location %d", a.db.Path(), loc), Err: err}
}

// proveEntry writes the proof of the operation that gave key the value e. The
// operation is not read again: an operation has one encoding, so what was decoded
// says what is stored.
func (a *API) proveEntry(b *buffer, v *database.View, h *head, key []byte, e database.Entry) error {
	op := operation.Operation{Kind: operation.Update, Key: key, Value: e.Value}
	if a.codec.Family() == operation.Immutable {
		op.Kind = operation.Set
	}
	var err error
	if b.raw, err = a.codec.Append(b.raw[:0], op); err != nil {
		return a.undecodable(e.Location, err)
	}
	run, err := a.codec.NewRun(b.raw)
	if err != nil {
		return a.undecodable(e.Location, err)
	}
	return a.proveRun(b, v, h, e.Location, run)
}

// proveRun writes the proof of operations that were read.
func (a *API) proveRun(b *buffer, v *database.View, h *head, start uint64, run operation.Run) error {
	proof, err := v.Prove(h.Size, start, start+uint64(run.Len()))
	if err != nil {
		return err
	}
	pins, err := v.Pins(start)
	if err != nil {
		return err
	}
	b.body = appendProof(b.body, &proved{codec: a.codec.Codec, head: h, start: start, run: run, proof: proof, pins: pins})
	return nil
}
