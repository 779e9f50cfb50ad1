// Package document is what the HTTP API speaks: its JSON documents, its problem
// codes, and the ways to write byte strings as text.
//
// It is shared by the server of the API (pkg/api), its clients (pkg/remote) and
// the library that checks answers (pkg/verify), and does nothing by itself.
//
// Roots and other digests are 64 lower-case hexadecimal digits. Locations,
// sizes and floors are JSON numbers up to 2^62: a reader that has only 53 bits
// is right up to nine quadrillion operations. Times are RFC 3339 in UTC.
// Unknown members must be ignored: later versions add some.
package document

import (
	"bytes"
	"encoding/json"
	"time"
)

// Marshal writes a document as JSON that people can copy links out of: nothing
// is escaped that JSON does not ask for. It ends with a line break.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

// Head names a published state: everything in a document with a Head was read
// under this root.
type Head struct {
	Root  string `json:"root"`
	Size  uint64 `json:"size"`  // operations in the log
	Floor uint64 `json:"floor"` // inactivity floor
	Start uint64 `json:"start"` // first location held here
}

// The roles of Status.Role.
const (
	RoleServer = "server"
	RoleClient = "client"
)

// The states of Status.State. A client's phases follow those of its syncer.
const (
	StateStarting   = "starting"   // nothing is readable yet, and nothing says why not
	StateServing    = "serving"    // a server whose database is open
	StateConnecting = "connecting" // a client that looks for its source's target
	StateSyncing    = "syncing"    // fetching what is missing
	StateInStep     = "in_step"    // has all that its source has named
	StateBehind     = "behind"     // the source has less than the replica, or what cannot be compared
	StateForked     = "forked"     // the source's history contradicts ours
	StateMismatch   = "mismatch"   // the source's log is of another family or encoding
	StateStale      = "stale"      // no signed target is fresh enough to be followed
	StateRollback   = "rollback"   // the newest signed target is older than one accepted before
	StatePaused     = "paused"     // nothing is written, as the disk is nearly full
	StateDamaged    = "damaged"    // stored data was found to be damaged
	StateFailed     = "failed"     // our own storage failed
)

// Status is the answer to GET /v1/status.
type Status struct {
	Role     string    `json:"role"`
	Version  string    `json:"version"`
	Family   string    `json:"family"`         // any or immutable
	Encoding string    `json:"encoding"`       // fixed or variable: of the operations, not of this document
	State    string    `json:"state"`          // one of the State constants
	Message  string    `json:"message"`        // the state in words, for people
	Ready    bool      `json:"ready"`          // what the readiness probe says
	Time     time.Time `json:"time"`           // of this answer
	Started  time.Time `json:"started"`        // of the process
	Epoch    uint64    `json:"epoch"`          // of the storage directory: how often its log was declared to have lost commits
	Head     *Head     `json:"head"`           // null before a replica's first sync
	Writes   bool      `json:"writes"`         // POST /v1/batches is offered
	Disk     *Disk     `json:"disk,omitempty"` // absent while unknown

	// Of clients only.
	Target  *Target  `json:"target,omitempty"` // newest one a source named
	Lag     *Lag     `json:"lag,omitempty"`    // absent while unknown: nothing, or nothing lately, was heard of the target
	Sync    *Sync    `json:"sync,omitempty"`
	Sources []Source `json:"sources,omitempty"`
	Trust   *Trust   `json:"trust,omitempty"`
}

// The values of Trust.Source.
const (
	TrustServer     = "server"     // each server's word is taken
	TrustCheckpoint = "checkpoint" // trusted keys have to have signed
	TrustStatic     = "static"     // the operator has given the one target
)

// Trust is why a client believes its targets. All but Source is of checkpoints.
type Trust struct {
	Source        string     `json:"source"` // one of the Trust constants
	Origin        string     `json:"origin,omitempty"`
	Epoch         uint64     `json:"epoch,omitempty"`
	Quorum        int        `json:"quorum,omitempty"`  // how many trusted keys have to have signed
	Signers       []string   `json:"signers,omitempty"` // those that have signed the newest that may be followed
	Time          *time.Time `json:"time,omitempty"`    // when that was signed; absent if there was none yet
	AgeSeconds    *float64   `json:"age_seconds,omitempty"`
	MaxAgeSeconds float64    `json:"max_age_seconds,omitempty"`
	Stale         bool       `json:"stale,omitempty"`      // none is fresh enough to be followed
	LastError     string     `json:"last_error,omitempty"` // why there was none when it was last asked for
}

// Disk is the volume of the storage directory.
type Disk struct {
	FreeBytes  uint64 `json:"free_bytes"`
	FloorBytes uint64 `json:"floor_bytes"` // that have to stay free: below, writing is paused
	Paused     bool   `json:"paused"`      // nothing is written, until there is space again
}

// Target is what a source says is there to be had.
type Target struct {
	Root  string    `json:"root"`
	Start uint64    `json:"start"`
	End   uint64    `json:"end"`
	Time  time.Time `json:"time"` // when a source named it last
}

// Lag is how far a replica is behind the newest target it knows.
type Lag struct {
	Operations uint64  `json:"operations"`
	Seconds    float64 `json:"seconds"` // since it was last in step; 0 if it is
}

// Sync is what a client's engine is doing.
type Sync struct {
	Phase      string     `json:"phase"`
	Iteration  uint64     `json:"iteration"`
	Stored     uint64     `json:"stored"`                // end of what is verified, readable or not
	Progress   float64    `json:"progress"`              // 0 to 1, of the sync under way; 1 in step
	Rate       float64    `json:"rate"`                  // verified operations per second, recently
	ETASeconds *float64   `json:"eta_seconds,omitempty"` // absent while unknown
	LastSync   *time.Time `json:"last_sync,omitempty"`   // when it was last in step
	Failures   int        `json:"failures"`              // in a row
	LastError  string     `json:"last_error,omitempty"`
	Stalled    bool       `json:"stalled"`
	Following  bool       `json:"following"` // a source pushes new targets
}

// The states of Source.State.
const (
	SourceConnected    = "connected"
	SourceDisconnected = "disconnected"
	SourceCoolDown     = "cool_down" // set aside after wrong or late answers
)

// Source is one server a client fetches from.
type Source struct {
	Name            string  `json:"name"`
	State           string  `json:"state"`
	CoolDownSeconds float64 `json:"cool_down_seconds"` // 0 outside a cool-down
	Following       bool    `json:"following"`         // it pushes new targets
	LastError       string  `json:"last_error,omitempty"`
}

// Entry is the answer to GET /v1/keys/{key}, and an element of a Page, where
// Bytes, Head and Proof are absent.
type Entry struct {
	Bytes    Bytes   `json:"bytes,omitempty"` // how Key and Value are written
	Key      string  `json:"key"`
	Value    *string `json:"value,omitempty"` // absent where it was not asked for
	Location uint64  `json:"location"`        // of the operation that wrote it
	*Head
	Proof *Proof `json:"proof,omitempty"`
}

// Page is the answer to GET /v1/keys: live keys in bytewise order.
type Page struct {
	Bytes Bytes `json:"bytes"`
	Head
	Keys []Entry `json:"keys"`
	// Next is the path and query of the next page under the same root; empty
	// on the last one.
	Next string `json:"next,omitempty"`
}

// Operation is an entry of the log, decoded.
type Operation struct {
	Location uint64  `json:"location"`
	Kind     string  `json:"kind"` // update, delete, set or commit
	Key      *string `json:"key,omitempty"`
	Value    *string `json:"value,omitempty"`
	Floor    *uint64 `json:"floor,omitempty"`    // of a commit
	Metadata *string `json:"metadata,omitempty"` // of a commit that carries some
}

// Operations is the answer to GET /v1/operations.
type Operations struct {
	Bytes Bytes `json:"bytes"`
	Head
	Operations []Operation `json:"operations"`
	Next       string      `json:"next,omitempty"`
	Proof      *Proof      `json:"proof,omitempty"` // of all Operations together
}

// Commit is a state the log went through.
type Commit struct {
	Root     string     `json:"root"`
	Size     uint64     `json:"size"`
	Floor    uint64     `json:"floor"`
	Metadata *string    `json:"metadata,omitempty"`
	Time     *time.Time `json:"time,omitempty"` // when this process made or learned it, where it remembers
}

// Commits is the answer to GET /v1/commits, newest first.
type Commits struct {
	Bytes Bytes `json:"bytes"`
	Head
	Commits []Commit `json:"commits"`
	Next    string   `json:"next,omitempty"`
}

// ProofOperation is the kind of proof that shows that operations stand at their
// locations under a root. It does not show that no later operation replaced them.
const ProofOperation = "operation"

// Proof is what a third party needs, beside a root it trusts, to check an
// answer. Digests are in the order of the proof (docs/format.md).
type Proof struct {
	Kind          string   `json:"kind"` // ProofOperation; readers refuse kinds they do not know
	Family        string   `json:"family"`
	Encoding      string   `json:"encoding"`
	Root          string   `json:"root"`
	Size          uint64   `json:"size"` // operations under Root
	InactivePeaks uint64   `json:"inactive_peaks"`
	Location      uint64   `json:"location"`   // of the first operation
	Operations    []string `json:"operations"` // encoded operations in base64url
	Digests       []string `json:"digests"`
	Pins          []string `json:"pins"` // pinned nodes at Location
}

// Change is a key whose value differs between two states.
type Change struct {
	Key      string  `json:"key"`
	Value    *string `json:"value,omitempty"` // absent if Deleted
	Deleted  bool    `json:"deleted,omitempty"`
	Location uint64  `json:"location"` // of the newest operation on the key
}

// Events of GET /v1/watch, by their name on the stream.
const (
	EventRoot    = "root"    // data is a RootEvent; its id is for Last-Event-ID
	EventChanges = "changes" // data is a ChangesEvent; before the root event they belong to
	EventReset   = "reset"   // data is a RootEvent: the way from the last state to this one is not known, read everything anew
	EventEnd     = "end"     // data is a Problem: why the server ends the stream
)

// RootEvent is a new state.
type RootEvent struct {
	Head
	Time time.Time `json:"time,omitzero"` // when this process published it; absent where it does not remember
}

// ChangesEvent lists keys that changed between the states of size From and
// Size. Several may belong to one RootEvent.
type ChangesEvent struct {
	Bytes   Bytes    `json:"bytes"`
	From    uint64   `json:"from"`
	Size    uint64   `json:"size"`
	Changes []Change `json:"changes"`
}

// Batch is the body of POST /v1/batches: writes that take effect together or
// not at all.
type Batch struct {
	Bytes    Bytes   `json:"bytes,omitempty"` // how byte strings are written; base64url if absent
	Writes   []Write `json:"writes"`
	Metadata *string `json:"metadata,omitempty"` // carried by the commit, which then is this batch's alone
	IfRoot   string  `json:"if_root,omitempty"`  // the root must be this one
	Floor    *uint64 `json:"floor,omitempty"`    // immutable only: the new inactivity floor
}

// Write sets a key, or deletes it, on conditions. A key may be written once in
// a batch. At most one of the conditions may be given.
type Write struct {
	Key        string  `json:"key"`
	Value      *string `json:"value,omitempty"` // absent: see Delete
	Delete     bool    `json:"delete,omitempty"`
	IfAbsent   bool    `json:"if_absent,omitempty"`   // the key has no value
	IfValue    *string `json:"if_value,omitempty"`    // it has this value
	IfLocation *uint64 `json:"if_location,omitempty"` // its value was written at this location
}

// Committed is the answer to POST /v1/batches. What it names is durable.
type Committed struct {
	Root       string `json:"root"`
	Size       uint64 `json:"size"`
	Location   uint64 `json:"location"`           // of the commit; several batches may share it
	Operations int    `json:"operations"`         // that the commit consists of, of all batches in it
	Writes     int    `json:"writes"`             // taken from this request
	Commits    int    `json:"commits"`            // made for this request; more than one for a stream only
	Replayed   bool   `json:"replayed,omitempty"` // the idempotency key was known: nothing was written again
}
