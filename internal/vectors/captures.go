package vectors

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
)

// Capture is a recorded conversation, or a list of replies that were made
// invalid by one change each.
type Capture struct {
	Name   string `json:"-"`      // of the file
	Family string `json:"family"` // any, current, immutable, keyless; the encoding is fixed
	Mode   string `json:"mode"`   // full, compact
	// Log is the whole log at the end of the conversation, for captures of
	// full mode that are not Negative.
	Log        []Bytes    `json:"log_hex"`
	Boundaries []Boundary `json:"commit_boundaries"`
	Cases      []Case     `json:"cases"`
}

// Negative tells whether every reply of the capture has to be refused.
func (c *Capture) Negative() bool { return strings.HasPrefix(c.Name, "negative-") }

// Codec is the family and encoding that the operations are decoded with.
func (c *Capture) Codec() string {
	if c.Family == "current" { // another database over the same operations
		return "any/fixed"
	}
	return c.Family + "/fixed"
}

// Boundary is the log as it was after a commit.
type Boundary struct {
	Size          uint64 `json:"size"`
	Floor         uint64 `json:"floor"`
	InactivePeaks uint64 `json:"inactive_peaks"`
	Root          Digest `json:"root"`
}

// Case is a request and what came back, both as whole frames.
type Case struct {
	Name     string `json:"name"`
	Request  Bytes  `json:"request_hex"`
	Response Bytes  `json:"response_hex"` // empty if nothing came back
	// Expect is one of: "verifies", "error code N", "connection closed",
	// "no reply, connection stays open", "rejected".
	Expect string `json:"expect"`
	// Root is the trusted root of the log of the size asked for, if the
	// response has a proof.
	Root *Digest `json:"root"`
	// Stage and Reason are where and why the reference model rejects a
	// Negative reply: "decode" or "verify".
	Stage  string `json:"stage"`
	Reason string `json:"reason"`
}

var captures = sync.OnceValues(func() ([]*Capture, error) {
	files, err := unpack("captures.tar.zst")
	if err != nil {
		return nil, err
	}
	var all []*Capture
	for _, f := range files {
		c := &Capture{Name: f.name}
		if err := json.Unmarshal(f.data, c); err != nil {
			return nil, fmt.Errorf("vectors %q: %w", f.name, err)
		}
		all = append(all, c)
	}
	return all, nil
})

// Captures are all wire captures, each followed by the negative ones derived
// from it.
func Captures(tb TB) []*Capture {
	tb.Helper()
	all, err := captures()
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return all
}
