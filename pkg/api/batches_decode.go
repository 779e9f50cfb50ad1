package api

import (
	"bytes"
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
	if err := json.Unmarshal(b, into, strictly); err != nil {
		return jsonProblem(err, "", len(b) == 0)
	}
	return nil
}

// jsonProblem says what is wrong with JSON, of which within is the place that
// was being read.
func jsonProblem(err error, within string, empty bool) error {
	// The texts of the package name Go types.
	var where, what string
	if s, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		where, what = string(s.JSONPointer), s.Err.Error()
		if errors.Is(err, jsontext.ErrDuplicateName) {
			what = "the member is given twice"
		} else if empty {
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
	if where = within + where; where == "" {
		where = "the top"
	}
	return document.NewProblem(document.CodeInvalidRequest, "JSON, at %.200s: %.300s", where, strings.TrimPrefix(what, "jsontext: "))
}

// batchDocument is a document.Batch whose writes are still text: decoded they
// may take many times the memory, which their number has to be known for.
type batchDocument struct {
	Bytes    document.Bytes `json:"bytes"`
	Writes   jsontext.Value `json:"writes"`
	Metadata *string        `json:"metadata"`
	IfRoot   string         `json:"if_root"`
	Floor    *uint64        `json:"floor"`
}

// decodeBatch reads a document.Batch. The form of byte strings may be given by
// the document or by the request; p gets the one that holds.
func decodeBatch(body []byte, p *params) (committer.Batch, error) {
	var doc batchDocument
	if err := decodeStrictly(body, &doc); err != nil {
		return committer.Batch{}, err
	}
	if doc.Writes == nil {
		return committer.Batch{}, document.NewProblem(document.CodeInvalidRequest, `"writes" is missing`)
	}
	if doc.Bytes != "" {
		form, err := document.ParseBytes(string(doc.Bytes))
		if err != nil {
			return committer.Batch{}, document.NewProblem(document.CodeInvalidRequest, "%s", err)
		}
		if _, given := p.text("bytes"); given && form != p.form {
			return committer.Batch{}, document.NewProblem(document.CodeInvalidRequest, "bytes is %q in the query and %q in the document", p.form, form)
		}
		p.form = form
	}
	b := committer.Batch{Floor: doc.Floor}
	var err error
	if b.Writes, err = decodeWrites(doc.Writes, p.form); err != nil {
		return b, err
	}
	if doc.Metadata != nil {
		if b.Metadata, err = p.form.Decode(*doc.Metadata); err != nil {
			return b, document.NewProblem(document.CodeInvalidValue, "metadata: %s", err)
		}
	}
	if doc.IfRoot != "" {
		b.IfRoot, err = parseRoot(doc.IfRoot)
	}
	return b, err
}

const (
	// writeBytes is less than the shortest write is as text, if a batch has
	// many of them, whose keys differ: {"key":"00","delete":true}
	writeBytes = 16
	// maxWrites is how many writes a batch has at most.
	maxWrites = 1 << 20
)

// decodeWrites reads the writes of a batch one by one: the first that is wrong
// ends it, and none is held in more than one form.
func decodeWrites(text jsontext.Value, f document.Bytes) ([]committer.Write, error) {
	n, err := countWrites(text)
	if err != nil {
		return nil, err
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(text)) // which it reads in place
	if _, err := d.ReadToken(); err != nil {
		return nil, jsonProblem(err, "/writes", false)
	}
	writes := make([]committer.Write, n)
	for i := range writes {
		var one document.Write
		if err := json.UnmarshalDecode(d, &one, strictly); err != nil {
			return nil, jsonProblem(err, "/writes", false)
		}
		if err := convertWrite(&writes[i], &one, f); err != nil {
			return nil, err
		}
	}
	return writes, nil
}

// countWrites counts the elements of an array that is valid JSON, unless they
// are too many.
func countWrites(text jsontext.Value) (n int, err error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(text))
	if kind := d.PeekKind(); kind != '[' {
		return 0, document.NewProblem(document.CodeInvalidRequest, "JSON, at /writes: %s is not what is expected there", kind)
	}
	if _, err := d.ReadToken(); err != nil {
		return 0, jsonProblem(err, "/writes", false)
	}
	most := min(maxWrites, len(text)/writeBytes+1)
	for ; d.PeekKind() != ']'; n++ {
		if n == most {
			return 0, document.NewProblem(document.CodeTooLarge, "writes: more than %d in %d bytes; longer batches can be sent as a stream of %s", most, len(text), typeLines)
		}
		if err := d.SkipValue(); err != nil {
			return 0, jsonProblem(err, "/writes", false)
		}
	}
	return n, nil
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
