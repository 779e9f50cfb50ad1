package fsck

import (
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/proofsync/proofsync/pkg/mmr"
)

// Report is the result of a check.
type Report struct {
	Directory   string        `json:"directory"`
	Database    string        `json:"database,omitempty"` // family and encoding
	Head        *Acknowledged `json:"head,omitempty"`
	Generations []Generation  `json:"generations"`
	Damages     uint64        `json:"damages"`            // findings that are damage, listed or not
	AtLeast     bool          `json:"damages_at_least"`   // there are more that were not counted
	Notes       uint64        `json:"notes"`              // findings that are none
	Unlisted    uint64        `json:"unlisted"`           // findings beyond those listed
	Findings    []Finding     `json:"findings"`           // the first of them
	Repaired    []string      `json:"repaired,omitempty"` // what a repair did
	Elapsed     time.Duration `json:"elapsed_ns"`

	mu           sync.Mutex // of what add changes
	unrepairable uint64     // of those unlisted
	max          int
}

// Acknowledged is what HEAD says: the state that was acknowledged last.
type Acknowledged struct {
	Generation uint64     `json:"generation"`
	Size       uint64     `json:"size"`
	Root       mmr.Digest `json:"root"`
}

// Clean says that nothing is damaged. There may be notes.
func (r *Report) Clean() bool { return r.Damages == 0 }

// Repairable says that all that is damaged can be rebuilt.
func (r *Report) Repairable() bool {
	if r.Clean() {
		return false
	}
	for _, f := range r.Findings {
		if f.Severity == Damage && !f.Repairable {
			return false
		}
	}
	return r.unrepairable == 0
}

// Generation is what was checked of one.
type Generation struct {
	Number uint64     `json:"number"`
	InUse  bool       `json:"in_use"`
	Start  uint64     `json:"start"`
	Size   uint64     `json:"size"`
	Stored uint64     `json:"stored"`
	Floor  uint64     `json:"floor"`
	Root   mmr.Digest `json:"root"`

	Bundles    uint64 `json:"bundles"`
	Operations uint64 `json:"operations"`
	Tiles      uint64 `json:"tiles"`
	Entries    uint64 `json:"index_entries"`
	Keys       uint64 `json:"keys"`      // with an entry below Size
	LiveKeys   uint64 `json:"live_keys"` // of these, not deleted at Size
	Notes      uint64 `json:"notes"`
}

// Space is the part of a directory that a finding is about.
type Space string

// The spaces.
const (
	Current    Space = "current"    // the file CURRENT
	Head       Space = "head"       // the file HEAD
	State      Space = "state"      // a generation's state and pinned nodes, or the generation as such
	Operations Space = "operations" // and the bundles they lie in
	Tiles      Space = "tiles"
	Index      Space = "index"
	Notes      Space = "notes"
	Unknown    Space = "unknown" // keys that no space of this format has
)

// Problem is what is wrong.
type Problem string

// The problems.
const (
	Missing    Problem = "missing"    // it is not there
	Extra      Problem = "extra"      // it should not be there
	Different  Problem = "different"  // it is not what follows from the operations
	Malformed  Problem = "malformed"  // it is nothing that could have been written
	Unreadable Problem = "unreadable" // the disk or its checksums say no
)

// Severity says what a finding means.
type Severity string

// The severities. The zero value is Damage.
const (
	Damage Severity = "damage"
	Note   Severity = "note" // worth knowing; nothing is wrong
)

// Bytes are shown in hexadecimal.
type Bytes []byte

// MarshalText implements encoding.TextMarshaler.
func (b Bytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, b), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *Bytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.AppendDecode(nil, text)
	return err
}

// Finding is one thing that is not as it should be.
type Finding struct {
	Generation uint64   `json:"generation,omitempty"`
	Space      Space    `json:"space"`
	Severity   Severity `json:"severity"`
	Problem    Problem  `json:"problem"`

	Ranged bool   `json:"ranged,omitempty"` // it is about the locations [From, To)
	From   uint64 `json:"from"`
	To     uint64 `json:"to"`
	Tile   string `json:"tile,omitempty"` // "level/index"
	Key    Bytes  `json:"key,omitempty"`  // the key as it was written by users; in unknown spaces as it lies on disk
	File   string `json:"file,omitempty"` // the file that cannot be read, where it is known

	Expected string `json:"expected,omitempty"`
	Found    string `json:"found,omitempty"`
	Detail   string `json:"detail,omitempty"`

	// Repairable: it can be rebuilt from operations that are right.
	Repairable bool `json:"repairable"`
	// Rebuild: that takes all of the generation, not only this record.
	Rebuild bool `json:"rebuild,omitempty"`
}

// String is the finding in one line.
func (f Finding) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: ", f.Severity)
	if f.Generation > 0 {
		fmt.Fprintf(&b, "generation %d, ", f.Generation)
	}
	b.WriteString(string(f.Space))
	if f.Tile != "" {
		fmt.Fprintf(&b, " tile %s", f.Tile)
	}
	switch {
	case !f.Ranged:
	case f.To == f.From+1:
		fmt.Fprintf(&b, " at location %d", f.From)
	default:
		fmt.Fprintf(&b, " at locations %d to %d", f.From, f.To-1)
	}
	if f.Key != nil {
		fmt.Fprintf(&b, " key %x", []byte(f.Key))
	}
	fmt.Fprintf(&b, ": %s", f.Problem)
	if f.Expected != "" {
		fmt.Fprintf(&b, "; expected %s", f.Expected)
	}
	if f.Found != "" {
		fmt.Fprintf(&b, "; found %s", f.Found)
	}
	if f.Detail != "" {
		fmt.Fprintf(&b, "; %s", f.Detail)
	}
	if f.File != "" {
		fmt.Fprintf(&b, " (%s)", f.File)
	}
	return b.String()
}

// add takes a finding in: it lists it, or only counts it.
func (r *Report) add(f Finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.Severity == "" {
		f.Severity = Damage
	}
	f.Repairable = f.Severity == Damage && (f.Repairable || f.Rebuild)
	if f.Severity == Damage {
		r.Damages++
	} else {
		r.Notes++
	}
	if len(r.Findings) < r.max {
		r.Findings = append(r.Findings, f)
		return
	}
	r.Unlisted++
	if f.Severity == Damage && !f.Repairable {
		r.unrepairable++
	}
}

// atLeast says that not all findings were counted.
func (r *Report) atLeast() { r.AtLeast = true }

// reason is an error in one line: the storage engine adds others to its own.
func reason(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}
