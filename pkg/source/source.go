// Package source fetches targets and operations from the servers a replica
// follows.
//
// A Peer is one server address: one connection with pipelined requests, dialed
// when it is needed, dropped on the first offence against the protocol and
// replaced after a back-off. A Pool puts several sources behind the same
// interface, spreads requests by what each was measured to deliver, asks a second
// one where the first takes too long, and keeps those in cool-down that lied or did
// not answer. Servers is the Pool of a configuration: it looks names up, and
// every address of a name is a source.
//
// A peer that can push its targets is listened to (Follower), and one that
// cannot is asked. Either way a target is a claim.
//
// The package knows the protocol, and whether an answer belongs to its
// request. It does not know which root to trust: proofs are checked by the
// caller, who tells the Pool what came of it.
//
//	caller --Operations--> Pool --soonest answer-----> Peer --frames--> server
//	   |                    ^                            |
//	   +---Report(verdict)--+       Answer (frame buffer, until Release)
package source

import (
	"context"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/wire"
)

// Source is where targets and operations come from. Its methods are safe for
// concurrent use, and return the context's error when the context ended first.
// Every other error says by Classify what to do about it.
type Source interface {
	// Name tells sources apart in logs and metrics: host:port for a Peer.
	Name() string
	// Target asks for the newest target.
	Target(ctx context.Context) (Target, error)
	// Operations asks for operations and their proof. The answer fits the
	// request (its size, start, number of operations and pins), but its proof
	// has not been checked against any root.
	Operations(ctx context.Context, r Request) (*Answer, error)
}

// Reporter is a Source that wants to know what became of its answers.
type Reporter interface {
	// Report tells what an answer of the named peer was found to be.
	Report(peer string, v Verdict)
}

// Group is a Source that stands for several.
type Group interface {
	// Sources is how many sources with different names there are, at least one.
	Sources() int
}

// Acceptor is a Source of signed targets that remembers which was accepted, so that
// no older one is ever named again. It is told of targets in the order in which
// they are made readable, by one at a time.
type Acceptor interface {
	// Accept is told that t continues what is stored here, or that there is nothing
	// it has to continue, before anything is loaded under it. It is remembered
	// durably when Accept returns nil. Errors are those of the storage.
	Accept(t Target) error
	// Reached is told that t is readable.
	Reached(t Target)
	// Accepted is the target accepted last; false: none was.
	Accepted() (Target, bool)
}

// Target is a target and who named it: a peer, of which nothing is verified, or
// whoever vouches for signed ones.
type Target struct {
	wire.Target
	Peer string
	// Signed says that the target is not a server's word: enough trusted keys have
	// signed it, or the operator has named it.
	Signed bool
	// Epoch is that of the log, if the target is signed: a higher one may
	// contradict what was true before.
	Epoch uint64
	// Note is the signed note; nil if there is none. It must not be changed.
	Note []byte
}

// Same says whether two targets are of one peer, say the same and are worth the same.
func (t Target) Same(other Target) bool {
	return t.Target == other.Target && t.Peer == other.Peer && t.Signed == other.Signed && t.Epoch == other.Epoch
}

// Request asks for the operations [Start, Start+n) with 1 <= n <= Max, as
// proven in the log that had Size operations.
type Request struct {
	Size, Start, Max uint64
	// Pins asks for the pinned nodes of Start as well.
	Pins bool
	// MaxFrame is the length in bytes of the longest answer the caller has
	// room for; 0 means wire.MaxFrame. A longer one is skipped without being
	// stored and yields a *TooLargeError.
	MaxFrame int
	// Codec reads the answer; nil means the peer's own. With a codec given, an
	// answer that does not decode is no offence: the caller is guessing.
	Codec *operation.Codec
	// Peer names the source that should answer, if it is usable at all.
	// A Peer ignores it.
	Peer string
}

// Answer holds operations, their proof and, if asked for, pinned nodes. Run
// and everything taken from it alias the frame that Release returns.
type Answer struct {
	Proof mmr.Proof
	Run   operation.Run
	Pins  []mmr.Digest
	// Bytes is the length of the frame.
	Bytes int
	// Peer names the source that answered.
	Peer string

	release func()
}

// Release gives the frame buffer back; the Run must not be used any more.
// Calling it again does nothing.
func (a *Answer) Release() {
	if a == nil || a.release == nil {
		return
	}
	release := a.release
	a.release, a.Run = nil, operation.Run{}
	release()
}

// Verdict is what a caller found about an answer, or the lack of one.
type Verdict uint8

const (
	// VerdictGood is an answer that was verified.
	VerdictGood Verdict = iota
	// VerdictLying is an answer that was refuted.
	VerdictLying
	// VerdictSlow is no answer in time, or no connection.
	VerdictSlow
	// VerdictDiverged is a verified answer of a history that is not ours, or
	// a target that cannot be compared with ours.
	VerdictDiverged
)

func (v Verdict) String() string {
	switch v {
	case VerdictGood:
		return "good"
	case VerdictLying:
		return "lying"
	case VerdictSlow:
		return "slow"
	case VerdictDiverged:
		return "diverged"
	}
	return "unknown"
}
