package importer

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// objectParser reads the one JSON object a record is. It is stricter than
// encoding/json where that would change data silently: names are exact and
// occur once, and text that is no Unicode (invalid UTF-8, half a surrogate
// pair) is an error, not a replacement character. The buffers are reused.
type objectParser struct {
	line []byte
	at   int

	name, key, value      []byte // unescaped
	keyBytes, valueBytes  []byte // decoded base64
	hasKey, hasValue      bool
	hasDelete, deleteFlag bool
}

// parse fills key, value and delete of rec; its slices alias line or the parser.
func (p *objectParser) parse(line []byte, rec *record) error {
	p.line, p.at = line, 0
	p.hasKey, p.hasValue, p.hasDelete, p.deleteFlag = false, false, false, false
	rec.key, rec.value = field{}, field{}
	if !p.take('{') {
		return errors.New("a JSON object expected")
	}
	if !p.take('}') {
		for {
			if err := p.member(rec); err != nil {
				return err
			}
			if p.take('}') {
				break
			}
			if !p.take(',') {
				return p.unexpected("a comma or a closing brace")
			}
		}
	}
	p.space()
	if p.at < len(p.line) {
		return errors.New("text after the object")
	}
	rec.delete = p.deleteFlag
	return checkFields(p.hasKey, p.hasValue, p.hasDelete, p.deleteFlag)
}

// checkFields holds for all formats.
func checkFields(key, value, hasDelete, isDelete bool) error {
	switch {
	case !key:
		return errors.New("no key")
	case isDelete && value:
		return errors.New("a value together with delete")
	case !isDelete && !value && hasDelete:
		return errors.New("delete is false and there is no value")
	case !isDelete && !value:
		return errors.New("no value")
	}
	return nil
}

func (p *objectParser) member(rec *record) (err error) {
	var name []byte
	if name, p.name, err = p.text(p.name); err != nil {
		return err
	}
	if !p.take(':') {
		return p.unexpected("a colon")
	}
	fail := func(err error) error { return fmt.Errorf("%s: %w", name, err) }
	switch string(name) {
	case columnKey, columnKeyBase64:
		if p.hasKey {
			return errors.New("more than one key")
		}
		p.hasKey = true
		rec.key, err = p.field(string(name) == columnKeyBase64, &p.key, &p.keyBytes)
		if err != nil {
			return fail(err)
		}
	case columnValue, columnValueBase64:
		if p.hasValue {
			return errors.New("more than one value")
		}
		p.hasValue = true
		rec.value, err = p.field(string(name) == columnValueBase64, &p.value, &p.valueBytes)
		if err != nil {
			return fail(err)
		}
	case columnDelete:
		if p.hasDelete {
			return errors.New("more than one delete")
		}
		p.hasDelete = true
		switch {
		case p.word("true"):
			p.deleteFlag = true
		case p.word("false"):
		default:
			return fail(p.unexpected("true or false"))
		}
	default:
		return fmt.Errorf("unknown field %.40q: key, key_base64, value, value_base64 and delete are known", name)
	}
	return nil
}

func (p *objectParser) field(isBase64 bool, text, decoded *[]byte) (f field, err error) {
	if f.bytes, *text, err = p.text(*text); err != nil || !isBase64 {
		return f, err
	}
	*decoded, err = decodeBase64(*decoded, f.bytes)
	return field{bytes: *decoded, raw: true}, err
}

func (p *objectParser) space() {
	for p.at < len(p.line) {
		switch p.line[p.at] {
		case ' ', '\t', '\r', '\n':
			p.at++
		default:
			return
		}
	}
}

func (p *objectParser) take(c byte) bool {
	p.space()
	if p.at < len(p.line) && p.line[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *objectParser) word(w string) bool {
	p.space()
	if len(p.line)-p.at >= len(w) && string(p.line[p.at:p.at+len(w)]) == w {
		p.at += len(w)
		return true
	}
	return false
}

func (p *objectParser) unexpected(want string) error {
	p.space()
	if p.at >= len(p.line) {
		return fmt.Errorf("line ends where %s is expected", want)
	}
	r, _ := utf8.DecodeRune(p.line[p.at:])
	return fmt.Errorf("%q at byte %d where %s is expected", r, p.at+1, want)
}

// text reads a string. It returns the text, which aliases the line if there
// was nothing to unescape, and the buffer to use next time.
func (p *objectParser) text(buf []byte) (text, grown []byte, err error) {
	if !p.take('"') {
		return nil, buf, p.unexpected("a string")
	}
	rest := p.line[p.at:]
	end := bytes.IndexByte(rest, '"')
	if end >= 0 {
		rest = rest[:end]
	}
	for i, c := range rest {
		if c >= ' ' && c != '\\' {
			continue
		}
		if p.at += i; c < ' ' {
			return nil, buf, errors.New("control character in a string")
		}
		text, err = p.escaped(append(buf[:0], rest[:i]...))
		return text, text, err
	}
	if end < 0 {
		return nil, buf, errors.New("string without an end")
	}
	p.at += end + 1
	return rest, buf, checkText(rest)
}

// escaped continues text at the first backslash.
func (p *objectParser) escaped(buf []byte) ([]byte, error) {
	for p.at < len(p.line) {
		c := p.line[p.at]
		p.at++
		switch {
		case c == '"':
			return buf, checkText(buf)
		case c < ' ':
			return buf, errors.New("control character in a string")
		case c != '\\':
			buf = append(buf, c)
			continue
		}
		if p.at == len(p.line) {
			break
		}
		c = p.line[p.at]
		p.at++
		switch c {
		case '"', '\\', '/':
			buf = append(buf, c)
		case 'b':
			buf = append(buf, '\b')
		case 'f':
			buf = append(buf, '\f')
		case 'n':
			buf = append(buf, '\n')
		case 'r':
			buf = append(buf, '\r')
		case 't':
			buf = append(buf, '\t')
		case 'u':
			r, err := p.codePoint()
			if err != nil {
				return buf, err
			}
			buf = utf8.AppendRune(buf, r)
		default:
			return buf, fmt.Errorf("unknown escape \\%c in a string", c)
		}
	}
	return buf, errors.New("string without an end")
}

// codePoint reads what follows \u, and the second half of a surrogate pair.
func (p *objectParser) codePoint() (rune, error) {
	r, err := p.hex4()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if p.at+1 < len(p.line) && p.line[p.at] == '\\' && p.line[p.at+1] == 'u' {
		p.at += 2
		low, err := p.hex4()
		if err != nil {
			return 0, err
		}
		if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
			return r, nil
		}
	}
	return 0, errors.New("half a surrogate pair in a string")
}

func (p *objectParser) hex4() (r rune, err error) {
	for range 4 {
		if p.at == len(p.line) {
			return 0, errors.New("string without an end")
		}
		c := p.line[p.at]
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, errors.New("four hexadecimal digits expected after \\u in a string")
		}
		r = r<<4 | rune(c)
		p.at++
	}
	return r, nil
}

func checkText(b []byte) error {
	if !utf8.Valid(b) {
		return errors.New("invalid UTF-8: bytes that are not text go into key_base64 or value_base64")
	}
	return nil
}
