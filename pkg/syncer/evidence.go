package syncer

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/wire"
)

const (
	// maxEvidence bounds the operations kept in a file of evidence, in bytes.
	maxEvidence = 1 << 20
	// sayAgain is how often at most the same is filed or said about a peer.
	sayAgain = time.Minute
	// mostForks is how many files of forks of one peer there may be.
	mostForks = 16
)

// evidence is what is kept of a fork or a refuted answer: enough for a third
// party to check it again.
type evidence struct {
	Time       time.Time    `json:"time"`
	Peer       string       `json:"peer"`
	Codec      string       `json:"codec"`
	Reason     string       `json:"reason,omitempty"` // of a refutation
	LocalSize  uint64       `json:"local_size"`
	LocalRoot  mmr.Digest   `json:"local_root"`
	TargetRoot mmr.Digest   `json:"target_root"`
	Target     [2]uint64    `json:"target_range"`
	Location   uint64       `json:"location"` // where two histories were compared
	RootThere  *mmr.Digest  `json:"local_root_at_location,omitempty"`
	OurPeaks   []mmr.Digest `json:"local_peaks,omitempty"` // at Location
	Start      uint64       `json:"proof_start"`
	Max        uint64       `json:"operations_asked_for"`
	TheirPins  []mmr.Digest `json:"peer_pins,omitempty"` // at Start
	Proof      string       `json:"proof"`               // hexadecimal, as on the wire
	Operations string       `json:"operations"`          // hexadecimal, from Start on; cut at 1 MiB

	// Of signed targets: what was signed, as it came.
	Epoch        uint64 `json:"epoch,omitempty"` // of the target
	LocalEpoch   uint64 `json:"local_epoch,omitempty"`
	Note         string `json:"note,omitempty"`          // of the target
	AcceptedNote string `json:"accepted_note,omitempty"` // the newest that was accepted before
}

// newEvidence is the evidence an answer is. It copies what it keeps.
func (s *Syncer) newEvidence(t wire.Target, r source.Request, a *source.Answer) *evidence {
	st := s.Status()
	ops := a.Run.Bytes()
	return &evidence{
		Time: time.Now().UTC(), Peer: a.Peer, Codec: s.codec.String(),
		LocalSize: st.Size, LocalRoot: st.Root,
		TargetRoot: t.Root, Target: [2]uint64{t.Start, t.End},
		Start: r.Start, Max: r.Max, TheirPins: a.Pins,
		Proof:      hex.EncodeToString(wire.AppendProof(nil, a.Proof)),
		Operations: hex.EncodeToString(ops[:min(len(ops), maxEvidence)]),
	}
}

// file stores evidence and returns its path, or says why that did not work.
func (s *Syncer) file(name string, e *evidence) (path string) {
	data, err := json.MarshalIndent(e, "", "  ")
	if err == nil {
		path, err = s.db.KeepEvidence(name, data)
	}
	if err != nil {
		s.log.Error("evidence not kept", "name", name, "error", err)
		return ""
	}
	return path
}

// keepRefuted files the newest refuted answer of a peer: one file for each, so
// that a peer that does nothing but lie fills no disk.
func (s *Syncer) keepRefuted(a *source.Answer, r source.Request, root mmr.Digest, reason error) {
	if !s.refuted.due(a.Peer) {
		return
	}
	e := s.newEvidence(wire.Target{Root: root, Start: r.Start, End: r.Size}, r, a)
	e.Reason = reason.Error()
	path := s.file("refuted-"+fileName(a.Peer)+".json", e)
	s.log.Info("kept an answer that was refuted", "peer", a.Peer, "path", path)
}

// pace limits what is done about each peer to once in sayAgain. The zero value
// is ready.
type pace struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// due says whether it is time to do it about peer, and notes that it was done.
func (p *pace) due(peer string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last, ok := p.last[peer]; ok && time.Since(last) < sayAgain {
		return false
	}
	if p.last == nil {
		p.last = make(map[string]time.Time)
	}
	p.last[peer] = time.Now()
	return true
}

// forkFiles remembers the newest fork that was filed, by peer.
type forkFiles map[string]struct {
	root mmr.Digest // of the target
	path string
	at   time.Time
}

// keepFork files a fork, unless it is the newest one filed, or that was just
// now: a source that changes between histories proves it again and again. The
// same fork goes to the same file, which one of the mostForks names of a peer
// it is depends on the target's root: neither time nor restarts make them more.
func (s *Syncer) keepFork(f *fork) (path string) {
	kept, ok := s.forks[f.Peer]
	if ok && (kept.root == f.Target.Root || time.Since(kept.at) < sayAgain) {
		return kept.path
	}
	kept.root, kept.at = f.Target.Root, time.Now()
	kept.path = s.file(fmt.Sprintf("fork-%s-%02d.json", fileName(f.Peer), f.Target.Root[0]%mostForks), f.evidence)
	s.forks[f.Peer] = kept
	return kept.path
}

// fileName makes a peer's address fit for a file name.
func fileName(peer string) string {
	if len(peer) > 100 {
		peer = peer[:100]
	}
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '_'
	}, peer)
}
