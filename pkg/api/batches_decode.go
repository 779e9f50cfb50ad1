package api

import (
	"errors"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/proofsync/proofsync/pkg/committer"
	"github.com/proofsync/proofsync/pkg/document"
)

// Batches are read strictly: who writes has to be understood completely. A
// member that is not known, given twice or null might be a condition that the
// sender counts on. (The rules that encoding/json lacks are those of the
// second version of that package.)
var strictly = json.JoinOptions(
	json.RejectUnknownMembers(true),
	json.WithUnmarshalers(json.UnmarshalFromFunc(func(d *jsontext.Decoder, _ any) error {
		if d.PeekKind() == 'n' {
			return errNull
		}
		return json.SkipFunc
	})),
)

var errNull = errors.New("null is no value here: leave the member out")

// decodeStrictly reads one JSON value.
func decodeStrictly(b []byte, into any) error {
	err := json.Unmarshal(b, into, strictly)
	if err == nil {
		return nil
	}
	// The texts of the package name Go types.
	var where, what string
	if s, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		where, what = string(s.JSONPointer), s.Err.Error()
		if errors.Is(err, jsontext.ErrDuplicateName) {
			what = "the member is given twice"
		} else if len(b) == 0 {
			what = "there is nothing"
		}
	} else if s, ok := errors.AsType[*json.SemanticError](err); ok {
		where = string(s.JSONPointer)
		switch {
		case errors.Is(err, errNull):
			what = errNull.Error()
		case errors.Is(err, json.ErrUnknownName):
			what = "there is no such member"
		default:
			what = "not what is expected there"
			if s.JSONKind != 0 {
				what = s.JSONKind.String() + " is not what is expected there"
			}
		}
	} else {
		what = err.Error()
	}
	if where == "" {
		where = "the top"
	}
	return document.NewProblem(document.CodeInvalidRequest, "JSON, at %.200s: %.300s", where, strings.TrimPrefix(what, "jsontext: "))
}

// decodeBatch reads a document.Batch. The form of byte strings may be given by
// the document or by the request; p gets the one that holds.
func decodeBatch(body []byte, p *params) (document.Batch, committer.Batch, error) {
	var doc document.Batch
	if err := decodeStrictly(body, &doc); err != nil {
		return doc, committer.Batch{}, err
	}
	if doc.Writes == nil {
		return doc, committer.Batch{}, document.NewProblem(document.CodeInvalidRequest, `"writes" is missing`)
	}
	if doc.Bytes != "" {
		form, err := document.ParseBytes(string(doc.Bytes))
		if err != nil {
			return doc, committer.Batch{}, document.NewProblem(document.CodeInvalidRequest, "%s", err)
		}
		if _, given := p.text("bytes"); given && form != p.form {
			return doc, committer.Batch{}, document.NewProblem(document.CodeInvalidRequest, "bytes is %q in the query and %q in the document", p.form, form)
		}
		p.form = form
	}
	b := committer.Batch{Floor: doc.Floor, Writes: make([]committer.Write, len(doc.Writes))}
	for i := range doc.Writes {
		if err := convertWrite(&b.Writes[i], &doc.Writes[i], p.form); err != nil {
			return doc, b, err
		}
	}
	var err error
	if doc.Metadata != nil {
		if b.Metadata, err = p.form.Decode(*doc.Metadata); err != nil {
			return doc, b, document.NewProblem(document.CodeInvalidValue, "metadata: %s", err)
		}
	}
	if doc.IfRoot != "" {
		b.IfRoot, err = parseRoot(doc.IfRoot)
	}
	return doc, b, err
}

// convertWrite reads the byte strings of a write.
func convertWrite(w *committer.Write, d *document.Write, f document.Bytes) error {
	about := func(code document.Code, format string, args ...any) error {
		p := document.NewProblem(code, format, args...)
		p.Key = d.Key
		return p
	}
	switch {
	case d.Value == nil && !d.Delete:
		return about(document.CodeInvalidRequest, `a write has a "value", or "delete": true`)
	case d.Value != nil && d.Delete:
		return about(document.CodeInvalidRequest, `a write has a "value", or "delete": true, not both`)
	}
	w.Delete, w.IfAbsent, w.IfLocation = d.Delete, d.IfAbsent, d.IfLocation
	var err error
	if w.Key, err = f.Decode(d.Key); err != nil {
		return about(document.CodeInvalidKey, "key: %s", err)
	}
	if d.Value != nil {
		if w.Value, err = f.Decode(*d.Value); err != nil {
			return about(document.CodeInvalidValue, "value: %s", err)
		}
	}
	if d.IfValue != nil {
		if w.IfValue, err = f.Decode(*d.IfValue); err != nil {
			return about(document.CodeInvalidValue, "if_value: %s", err)
		}
	}
	return nil
}
