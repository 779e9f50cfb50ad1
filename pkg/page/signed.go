package page

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// signed is what a checkpoint says, for people. Nothing of it was checked: who
// wants to know asks for the note and has the keys.
type signed struct {
	Origin  string
	Size    uint64
	Time    time.Time
	Signers string
}

// maxSigners is how many names are shown.
const maxSigners = 8

// signed asks for the newest checkpoint; nil: there is none.
func (h *handler) signed(r *http.Request) *signed {
	note, err := h.get(r.Context(), "/v1/checkpoint", nil)
	if err != nil {
		return nil
	}
	text, lines, _ := strings.Cut(string(note), "\n\n")
	s := new(signed)
	for i, line := range strings.Split(text, "\n") {
		name, value, _ := strings.Cut(line, " ")
		switch {
		case i == 0:
			s.Origin = line
		case i == 1:
			if s.Size, err = strconv.ParseUint(line, 10, 64); err != nil {
				return nil
			}
		case name == "time":
			s.Time, _ = time.Parse(time.RFC3339, value) // without one it is not shown
		}
	}
	if s.Size == 0 {
		return nil // every log has its first commit
	}
	var names []string
	for line := range strings.Lines(lines) {
		if name, _, ok := strings.Cut(strings.TrimPrefix(line, "— "), " "); ok && len(names) < maxSigners {
			names = append(names, name)
		}
	}
	s.Signers = strings.Join(names, ", ")
	return s
}
