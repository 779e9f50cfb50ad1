package api

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/proofsync/proofsync/pkg/document"
)

// params are the query parameters of a request.
type params struct {
	values url.Values // nil: none
	form   document.Bytes
}

// parseParams reads the query. A parameter that is not among those known is a
// mistake, and so is one that is given twice: either would be ignored in part,
// and its sender would not learn of it.
func parseParams(r *http.Request, known ...string) (params, error) {
	p := params{form: document.Base64URL}
	if r.URL.RawQuery == "" {
		return p, nil
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return p, document.NewProblem(document.CodeInvalidRequest, "the query cannot be read: %.200s", err)
	}
	for name, given := range values {
		if !slices.Contains(known, name) {
			if len(known) == 0 {
				return p, document.NewProblem(document.CodeInvalidRequest, "parameter %.40q: there are no parameters here", name)
			}
			return p, document.NewProblem(document.CodeInvalidRequest, "parameter %.40q is not known here, but: %s", name, strings.Join(known, ", "))
		}
		if len(given) > 1 {
			return p, document.NewProblem(document.CodeInvalidRequest, "parameter %q is given %d times", name, len(given))
		}
	}
	p.values = values
	if text, ok := p.text("bytes"); ok {
		if p.form, err = document.ParseBytes(text); err != nil || text == "" {
			return p, document.NewProblem(document.CodeInvalidRequest, "bytes=%.40q: base64url, hex or utf8 expected", text)
		}
	}
	return p, nil
}

// text is a parameter as it was given, and whether it was.
func (p *params) text(name string) (string, bool) {
	v, ok := p.values[name]
	if !ok {
		return "", false
	}
	return v[0], true
}

// flag is true or false; false if not given.
func (p *params) flag(name string) (bool, error) {
	switch text, ok := p.text(name); {
	case !ok || text == "false":
		return false, nil
	case text == "true":
		return true, nil
	default:
		return false, document.NewProblem(document.CodeInvalidRequest, "%s=%.40q: true or false expected", name, text)
	}
}

// maxNumber is the largest location and size there is.
const maxNumber = 1 << 62

// number is a decimal number from least to most; given says whether there is one.
func (p *params) number(name string, least, most uint64) (n uint64, given bool, err error) {
	text, ok := p.text(name)
	if !ok {
		return 0, false, nil
	}
	n, err = strconv.ParseUint(text, 10, 64)
	if err != nil || n < least || n > most {
		return 0, true, document.NewProblem(document.CodeInvalidRequest, "%s=%.40q: a number from %d to %d expected", name, text, least, most)
	}
	return n, true, nil
}

// limit is the number of elements of a page.
func (p *params) limit(most uint64) (int, error) {
	n, given, err := p.number("limit", 1, most)
	if !given {
		n = min(defaultLimit, most)
	}
	return int(n), err
}

// defaultLimit is how many elements a page has if the request does not say.
const defaultLimit = 100

// bytes is a byte string; nil if not given.
func (p *params) bytes(name string) ([]byte, error) {
	text, ok := p.text(name)
	if !ok {
		return nil, nil
	}
	b, err := p.form.Decode(text)
	if err != nil {
		return nil, document.NewProblem(document.CodeInvalidKey, "%s: %s", name, err)
	}
	return b, nil
}

// link is the path and query of a document like this one with some parameters
// replaced: name, value, name, value.
func (p *params) link(path string, replaced ...string) string {
	q := make(url.Values, len(p.values)+len(replaced)/2)
	maps.Copy(q, p.values)
	for i := 0; i < len(replaced); i += 2 {
		q.Set(replaced[i], replaced[i+1])
	}
	return path + "?" + q.Encode()
}
