package syncer

import (
	"encoding/hex"
	"encoding/json"
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
	// refutedEvery is how often at most the file of refuted answers of a peer
	// is written anew.
	refutedEvery = time.Minute
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

// refutedFiles paces the files of refuted answers: one for each peer, so that a
// peer that does nothing but lie fills no disk.
type refutedFiles struct {
	mu   sync.Mutex
	last map[string]time.Time // by peer
}

// keepRefuted files the newest refuted answer of a peer.
func (s *Syncer) keepRefuted(a *source.Answer, r source.Request, root mmr.Digest, reason error) {
	f := &s.evidence
	f.mu.Lock()
	defer f.mu.Unlock()
	if last, ok := f.last[a.Peer]; ok && time.Since(last) < refutedEvery {
		return
	}
	if f.last == nil {
		f.last = make(map[string]time.Time)
	}
	f.last[a.Peer] = time.Now()
	e := s.newEvidence(wire.Target{Root: root, Start: r.Start, End: r.Size}, r, a)
	e.Reason = reason.Error()
	path := s.file("refuted-"+fileName(a.Peer)+".json", e)
	s.log.Info("kept an answer that was refuted", "peer", a.Peer, "path", path)
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
