package api

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/operation"
)

const (
	// maxKeys is the largest page of a listing.
	maxKeys = 10_000
	// pageBytes is about the size in bytes at which a page ends before its
	// limit; one entry is always on it.
	pageBytes = 4 << 20
	// largeAnswer is the size in bytes from which an answer keeps its place
	// among the large ones until it is sent.
	largeAnswer = 256 << 10
)

// view takes the state a request reads: the newest one, or that of at_size.
// The caller closes it.
func (a *API) view(p *params) (*database.View, error) {
	size, historical, err := p.number("at_size", 0, maxNumber)
	if err != nil {
		return nil, err
	}
	v, err := a.db.View()
	if err != nil || !historical {
		return v, err
	}
	defer v.Close()
	if size == 0 && v.Start() == 0 { // not that it is gone: it never was
		p := document.NewProblem(document.CodeNotBoundary, "at_size=0: a log begins with a commit, so that the first state has size 1")
		p.Head = &a.headOf(v).Head
		return nil, p
	}
	old, err := v.At(size)
	if err != nil {
		return nil, a.problemOf(err, &a.headOf(v).Head)
	}
	return old, nil
}

// key answers GET /v1/keys/{key}.
func (a *API) key(w http.ResponseWriter, r *http.Request) error {
	p, err := parseParams(r, "at_size", "bytes", "proof")
	if err != nil {
		return err
	}
	proof, err := p.flag("proof")
	if err != nil {
		return err
	}
	text := r.URL.Path[len(keysPath):]
	key, err := a.codec.decodeKey(p.form, text)
	if err != nil {
		return err
	}
	v, err := a.view(&p)
	if err != nil {
		return err
	}
	defer v.Close()
	h := a.headOf(v)
	e, err := v.Get(key)
	if errors.Is(err, database.ErrKeyNotFound) {
		p := document.NewProblem(document.CodeKeyNotFound, "the key has no value at size %d", h.Size)
		if h.Start > 0 && a.codec.Family() == operation.Immutable {
			// Nothing moves there, so what is pruned is live all the same.
			p.Detail += fmt.Sprintf(" as far as the log is held here: keys that were set before location %d are not", h.Start)
		}
		p.Head, p.Key = &h.Head, text
		return p
	} else if err != nil {
		return a.problemOf(err, &h.Head)
	}
	if e.Value == nil {
		e.Value = []byte{} // a value of no bytes is one
	}
	b := getBuffer()
	defer putBuffer(b)
	b.body = append(appendOpening(b.body, p.form), ',')
	if b.body, err = appendKeyed(b.body, p.form, key, e.Value, e.Location); err != nil {
		return a.notText(h, key)
	}
	b.body = appendHead(b.body, h)
	if proof {
		b.body = append(b.body, `,"proof":`...)
		if err := a.proveEntry(b, v, h, key, e); err != nil {
			return a.problemOf(err, &h.Head)
		}
	}
	b.body = append(b.body, '}', '\n')
	respond(w, r, h, b.body)
	return nil
}

// notText is the problem of an entry that bytes=utf8 cannot write.
func (a *API) notText(h *head, key []byte) error {
	p := document.NewProblem(document.CodeNotText, "the key %.80s, in hexadecimal, or its value is %s", hex.EncodeToString(key), document.ErrNotUTF8)
	p.Head = &h.Head
	return p
}

// keys answers GET /v1/keys.
func (a *API) keys(w http.ResponseWriter, r *http.Request) error {
	p, err := parseParams(r, "after", "at_size", "bytes", "limit", "prefix", "values")
	if err != nil {
		return err
	}
	limit, err := p.limit(maxKeys)
	if err != nil {
		return err
	}
	values, err := p.flag("values")
	if err != nil {
		return err
	}
	prefix, err := p.bytes("prefix")
	if err != nil {
		return err
	}
	after, err := p.bytes("after")
	if err != nil {
		return err
	}
	if err := errors.Join(a.codec.checkPart("prefix", prefix), a.codec.checkPart("after", after)); err != nil {
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
	b := getBuffer()
	defer putBuffer(b)
	list := &listing{form: p.form, limit: limit, body: appendHead(appendOpening(b.body, p.form), h)}
	list.body = append(list.body, `,"keys":[`...)
	// What no answer can be sent of any more is not worth walking on.
	ctx, cancel := context.WithTimeout(r.Context(), a.limits.RequestTime)
	defer cancel()
	if values {
		err = v.PageContext(ctx, prefix, after, limit+1, func(key []byte, e database.Entry) bool {
			if e.Value == nil {
				e.Value = []byte{}
			}
			return list.add(key, e.Value, e.Location)
		})
	} else {
		err = v.KeysContext(ctx, prefix, after, func(key []byte, location uint64) bool {
			return list.add(key, nil, location)
		})
	}
	b.body = list.body
	if list.err != nil {
		return a.notText(h, list.last)
	} else if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		a.extend(w)
		return document.NewProblem(document.CodeUnavailable, "no page was found within %s: keys that have no value in this state are in the way", a.limits.RequestTime)
	} else if err != nil {
		return a.problemOf(err, &h.Head)
	}
	b.body = append(b.body, ']')
	if list.more {
		last, err := p.form.Encode(list.last)
		if err != nil {
			return a.notText(h, list.last)
		}
		b.body = appendNext(b.body, p.link("/v1/keys", "after", last, "at_size", strconv.FormatUint(h.Size, 10)))
	}
	b.body = append(b.body, '}', '\n')
	if len(b.body) < largeAnswer {
		held.release()
		held = seat{}
	}
	respond(w, r, h, b.body)
	return nil
}

// listing writes entries until the page is full.
type listing struct {
	form  document.Bytes
	limit int
	body  []byte

	n    int
	last []byte // key of the last entry
	more bool   // there was another one
	err  error
}

// add takes a live key; a nil value is left out.
func (l *listing) add(key, value []byte, location uint64) bool {
	if l.n == l.limit || l.n > 0 && len(l.body)+2*(len(key)+len(value)) > pageBytes {
		l.more = true
		return false
	}
	if l.n++; l.n > 1 {
		l.body = append(l.body, ',')
	}
	l.last = append(l.last[:0], key...)
	l.body = append(l.body, '{')
	l.body, l.err = appendKeyed(l.body, l.form, key, value, location)
	l.body = append(l.body, '}')
	return l.err == nil
}
