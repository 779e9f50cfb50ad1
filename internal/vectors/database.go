package vectors

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
)

// Workload is a database from its creation on: batches in, states out.
type Workload struct {
	File string `json:"-"`
	Name string `json:"name"`
	// DB is the kind of database: any_unordered_fixed, any_unordered_variable,
	// immutable_fixed, immutable_variable, and in ProofWorkloads also
	// any_ordered_variable, keyless_fixed and current_unordered_fixed.
	DB      string    `json:"db"`
	Initial State     `json:"initial"`
	Commits []*Commit `json:"commits"`
}

// Codec is "family/encoding" for the kinds of databases this module has or
// whose operations it decodes, and "" for the rest.
func (w *Workload) Codec() string { return codecOf(w.DB) }

func codecOf(db string) string {
	switch family, rest, _ := strings.Cut(db, "_"); {
	case strings.HasPrefix(rest, "ordered"):
		return ""
	case family == "current":
		return "any/" + strings.TrimPrefix(rest, "unordered_")
	default:
		return family + "/" + strings.TrimPrefix(rest, "unordered_")
	}
}

// State is what a database says after a commit.
type State struct {
	Size         uint64 `json:"size"`
	Floor        uint64 `json:"floor"`
	SyncBoundary uint64 `json:"sync_boundary"`
	// Root is the root of the log of operations, but for kinds of current
	// their own root; OpsRoot is set only for those.
	Root    Digest  `json:"root"`
	OpsRoot *Digest `json:"ops_root"`
	// OpCount is the number of operations the commit appended, the commit
	// itself included. Ops are their encodings, nil where not recorded.
	OpCount int     `json:"op_count"`
	Ops     []Bytes `json:"ops"`
}

// Commit is a batch and what came of it.
type Commit struct {
	RawBatch    []json.RawMessage `json:"batch"`
	RawMetadata json.RawMessage   `json:"metadata"`
	// FloorGiven is the floor the caller asked for: nil in any and current.
	FloorGiven *uint64 `json:"floor_given"`
	// Refused is the peer's reason for not applying the batch; "" means it
	// was applied. If not, State is zero and the database is as before.
	Refused string `json:"refused"`
	State
	// PrunedTo: afterwards, the peer pruned its log to this location.
	PrunedTo *uint64 `json:"pruned_to"`
	// OldestRetained is the first location left in the peer's log after that.
	OldestRetained *uint64 `json:"oldest_retained"`
	// RangeProofs were recorded after this commit.
	RangeProofs *RangeProofs `json:"range_proofs"`
	keyless     bool
}

// Write is one line of a batch. In keyless it has no key.
type Write struct {
	Key, Value []byte
	Delete     bool // Value is nil
}

// Writes is the batch in the order of the calls; a key may occur several
// times. It makes a new slice on every call.
func (c *Commit) Writes() []Write {
	var ws []Write
	for _, raw := range c.RawBatch {
		if c.keyless {
			ws = append(ws, Write{Value: item(raw, 'v')})
			continue
		}
		if raw[0] == '[' {
			var pair [2]json.RawMessage
			must(json.Unmarshal(raw, &pair))
			ws = append(ws, newWrite(item(pair[0], 'k'), item(pair[1], 'v')))
			continue
		}
		// Numbered keys from..to-1, each deleted or given the value add further.
		var r struct {
			From, To uint64
			Add      *uint64
		}
		must(json.Unmarshal(raw, &r))
		for i := r.From; i < r.To; i++ {
			w := Write{Key: numbered('k', i), Delete: true}
			if r.Add != nil {
				w = Write{Key: w.Key, Value: numbered('v', i+*r.Add)}
			}
			ws = append(ws, w)
		}
	}
	return ws
}

// Metadata is the metadata of the commit, nil if there is none.
func (c *Commit) Metadata() []byte { return item(c.RawMetadata, 'v') }

func newWrite(key, value []byte) Write {
	return Write{Key: key, Value: value, Delete: value == nil}
}

// item is bytes given as hexadecimal text or as the number they are derived
// from; nil for null and for nothing at all.
func item(raw json.RawMessage, tag byte) []byte {
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return nil
	case raw[0] == '"':
		b, err := hex.DecodeString(string(raw[1 : len(raw)-1]))
		must(err)
		return b // not nil, even if empty
	}
	var n uint64
	must(json.Unmarshal(raw, &n))
	return numbered(tag, n)
}

func numbered(tag byte, n uint64) []byte {
	d := sha256.Sum256(binary.BigEndian.AppendUint64([]byte{tag}, n))
	return d[:]
}

// must is for the embedded data: what fails here is a broken archive.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// RangeProofs are proofs of a log as it was at one moment.
type RangeProofs struct {
	OldestRetained uint64       `json:"oldest_retained"`
	Tip            uint64       `json:"tip"` // size of the log
	Proofs         []RangeProof `json:"proofs"`
	// Requests are those the peer refused.
	Requests []RefusedRequest `json:"requests"`
}

// RangeProof is the proof of the operations [Start, Start+OpCount) against
// the log of Size operations.
type RangeProof struct {
	Size        uint64          `json:"size"`
	Start       uint64          `json:"start"`
	MaxOps      uint64          `json:"max_ops"`
	OpCount     uint64          `json:"op_count"`
	Root        Digest          `json:"root"`
	Proof       Bytes           `json:"proof"` // encoded
	PinnedNodes []Digest        `json:"pinned_nodes"`
	Altered     []*AlteredProof `json:"altered"`
}

// AlteredProof is the proof it belongs to with one thing changed, and what a
// verifier says of it, without and with pins: accepted, rejected or
// undecodable. Either Proof is set, or all the other changed values are.
type AlteredProof struct {
	Why             string   `json:"why"`
	Proof           *Bytes   `json:"proof"`
	Start           uint64   `json:"start"`
	OpFirst         uint64   `json:"op_first"`
	OpCount         uint64   `json:"op_count"`
	PinnedNodes     []Digest `json:"pinned_nodes"`
	Root            Digest   `json:"root"`
	Verdict         string   `json:"verdict"`
	VerdictWithPins string   `json:"verdict_with_pins"`
}

// RefusedRequest is a request for a proof that the peer refused.
type RefusedRequest struct {
	Size  uint64 `json:"size"`
	Start uint64 `json:"start"`
	Why   string `json:"why"`
	Error string `json:"error"`
}

func loadWorkloads(names ...string) ([]*Workload, error) {
	var all []*Workload
	for _, name := range names {
		var doc struct{ Workloads []*Workload }
		if err := decodeDatabaseFile(name, &doc); err != nil {
			return nil, err
		}
		if len(doc.Workloads) == 0 {
			return nil, fmt.Errorf("vectors %q: no workloads", name)
		}
		for _, w := range doc.Workloads {
			w.File = name
			for _, c := range w.Commits {
				c.keyless = strings.HasPrefix(w.DB, "keyless")
			}
		}
		all = append(all, doc.Workloads...)
	}
	return all, nil
}

var (
	workloads = sync.OnceValues(func() ([]*Workload, error) {
		return loadWorkloads("any_fixed", "any_variable_bytes", "immutable_fixed", "immutable_variable_bytes")
	})
	proofWorkloads = sync.OnceValues(func() ([]*Workload, error) { return loadWorkloads("proofs") })
)

// Workloads are the databases of the families any (unordered) and immutable in
// both encodings.
func Workloads(tb TB) []*Workload {
	tb.Helper()
	all, err := workloads()
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return all
}

// ProofWorkloads are databases of several kinds with range proofs.
func ProofWorkloads(tb TB) []*Workload {
	tb.Helper()
	all, err := proofWorkloads()
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return all
}

// OperationCase is a string of bytes, and whether the peer decodes it as one
// operation with byte strings of up to 100,000 bytes. What decodes encodes to
// the same bytes.
type OperationCase struct {
	Op      Bytes `json:"op"`
	Decodes bool  `json:"decodes"`
}

// OperationCodecs are operations and near misses by "family/encoding".
func OperationCodecs(tb TB) map[string][]OperationCase {
	tb.Helper()
	var doc struct {
		DecodeOps map[string][]OperationCase `json:"decode_ops"`
	}
	if err := decodeDatabaseFile("op_codecs", &doc); err != nil {
		tb.Fatalf("%v", err)
	}
	codecs := map[string][]OperationCase{}
	for db, cases := range doc.DecodeOps {
		if name := codecOf(db); name != "" {
			codecs[name] = append(codecs[name], cases...)
		}
	}
	return codecs
}
