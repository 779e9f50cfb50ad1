package page

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/proofsync/proofsync/pkg/document"
)

// commitsShown is the number of commits on the page.
const commitsShown = 8

// facts are what the template is filled with.
type facts struct {
	Trouble string // why the rest is missing
	*document.Status
	Commits []commit
	Signed  *signed // nil: nothing is
	Form    form
	Found   *found // nil: nothing was asked for
}

// LastCommit is when the newest commit was made, if that is known.
func (f facts) LastCommit() *time.Time {
	if len(f.Commits) == 0 {
		return nil
	}
	return f.Commits[0].Time
}

// commit is a row of the table.
type commit struct {
	document.Commit
	Operations uint64 // it consists of; 0: not known
}

// form is what the box holds.
type form struct{ Key, As string }

// found is what became of looking a key up.
type found struct {
	Problem  string
	Absent   bool
	Stored   string // key as the database has it, base64url
	Key      []byte
	Value    []byte
	Location uint64
	Head     *document.Head
}

func (h *handler) facts(r *http.Request) facts {
	f := facts{Status: &document.Status{Role: document.RoleServer, State: document.StateStarting}}
	status, err := ask[document.Status](r.Context(), h, "/v1/status", nil)
	if err != nil {
		f.Trouble = err.Error()
	} else {
		f.Status = status
	}
	if list, err := ask[document.Commits](r.Context(), h, "/v1/commits", url.Values{"limit": {strconv.Itoa(commitsShown + 1)}}); err == nil {
		f.Commits = commits(list.Commits)
	}
	f.Signed = h.signed(r)
	query := r.URL.Query()
	f.Form = form{Key: query.Get("key"), As: query.Get("as")}
	if query.Has("key") && f.Status.Encoding != "" {
		f.Found = h.find(r, f.Form, f.Status.Encoding)
	}
	return f
}

// commits says of each commit, newest first, how many operations it was.
func commits(list []document.Commit) []commit {
	rows := make([]commit, 0, len(list))
	for i, c := range list {
		row := commit{Commit: c}
		if i+1 < len(list) {
			row.Operations = c.Size - list[i+1].Size
		}
		rows = append(rows, row)
	}
	return rows[:min(len(rows), commitsShown)]
}

// find looks a key up as the form names it.
func (h *handler) find(r *http.Request, f form, encoding string) *found {
	key, err := storedKey(f, encoding)
	if err != nil {
		return &found{Problem: err.Error()}
	}
	text := base64.RawURLEncoding.EncodeToString(key)
	x := &found{Stored: text, Key: key}
	e, err := ask[document.Entry](r.Context(), h, "/v1/keys/"+text, nil)
	if p, ok := errors.AsType[*document.Problem](err); ok && p.Code == document.CodeKeyNotFound {
		x.Absent, x.Head = true, p.Head
		return x
	}
	if err == nil && e.Value != nil {
		x.Location, x.Head = e.Location, e.Head
		x.Value, err = e.Bytes.Decode(*e.Value)
	}
	if err != nil {
		x.Problem = err.Error()
	}
	return x
}

// storedKey is what the database keeps of a key: in the encoding fixed, text
// and what has not 32 bytes is hashed, as the importer does.
func storedKey(f form, encoding string) (key []byte, err error) {
	given := strings.TrimSpace(f.Key)
	switch f.As {
	case "", "text":
		key = []byte(f.Key)
	case "hex":
		key, err = document.Hex.Decode(given)
	case "base64url":
		key, err = document.Base64URL.Decode(strings.TrimRight(given, "="))
	default:
		err = fmt.Errorf("a key is given as text, hex or base64url, not as %.40q", f.As)
	}
	if err != nil {
		return nil, err
	}
	raw := f.As == "hex" || f.As == "base64url"
	if encoding == "fixed" && !(raw && len(key) == sha256.Size) {
		sum := sha256.Sum256(key)
		key = sum[:]
	}
	return key, nil
}

// functions are the template's.
var functions = template.FuncMap{
	"number":   number,
	"instep":   func(s string) string { return stateWords[s] },
	"utc":      func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"day":      func(t time.Time) string { return t.UTC().Format("Jan 2 15:04:05") },
	"clock":    func(t time.Time) string { return t.UTC().Format("15:04:05 UTC") },
	"iso":      func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
	"percent":  func(p float64) string { return fmt.Sprintf("%.1f%%", math.Floor(p*1000)/10) },
	"duration": duration,
	"shown":    shown,
	"replica":  func(role string) string { return map[string]string{document.RoleClient: "replica"}[role] },
	"forms":    func() []string { return []string{"text", "hex", "base64url"} },
	"source":   func(state string) string { return strings.ReplaceAll(state, "_", "-") },
}

// stateWords are the states for people; app.js has the same.
var stateWords = map[string]string{
	document.StateStarting:   "Starting",
	document.StateServing:    "Serving",
	document.StateConnecting: "Looking for its source",
	document.StateSyncing:    "Syncing",
	document.StateInStep:     "In step",
	document.StateBehind:     "Source is behind",
	document.StateForked:     "Forked",
	document.StateMismatch:   "Other kind of log",
	document.StateStale:      "Checkpoint is stale",
	document.StateRollback:   "Checkpoint went back",
	document.StatePaused:     "Paused, disk nearly full",
	document.StateDamaged:    "Stored data is damaged",
	document.StateFailed:     "Storage failed",
}

// number groups digits by three.
func number(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// duration is a number of seconds in its two largest units.
func duration(seconds float64) string {
	switch {
	case !(seconds >= 0) || seconds > 1e9:
		return "unknown"
	case seconds < 10:
		return fmt.Sprintf("%.1f s", seconds)
	case seconds < 60:
		return fmt.Sprintf("%.0f s", seconds)
	}
	n := int(seconds)
	switch {
	case n < 3600:
		return fmt.Sprintf("%d min %d s", n/60, n%60)
	case n < 86400:
		return fmt.Sprintf("%d h %d min", n/3600, n/60%60)
	}
	return fmt.Sprintf("%d d %d h", n/86400, n/3600%24)
}

// shown is a byte string for people: text if it is some, else hexadecimal.
func shown(b []byte) string {
	const most = 4096
	suffix := ""
	if len(b) > most {
		suffix = fmt.Sprintf("… (%s bytes in all)", number(uint64(len(b))))
	}
	if utf8.Valid(b) && strings.IndexFunc(string(b), func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' }) < 0 {
		return strings.ToValidUTF8(string(b[:min(len(b), most)]), "") + suffix
	}
	return hex.EncodeToString(b[:min(len(b), most/2)]) + suffix
}
