package store

import (
	"encoding/binary"
	"fmt"

	"github.com/proofsync/proofsync/pkg/mmr"
)

// State says how much of a generation counts. It changes in the same atomic
// step as everything it describes; nothing is readable before it says so.
type State struct {
	Start  uint64     // first retained location
	Size   uint64     // operations [Start, Size) are readable; Size == Start: nothing is yet
	Floor  uint64     // inactivity floor of the commit at Size-1
	Stored uint64     // operations [Start, Stored) are stored and verified; at least Size
	Root   mmr.Digest // root at Size; zero if nothing is readable
}

// Published says whether anything is readable.
func (s State) Published() bool { return s.Size > s.Start }

const stateLen = 1 + 4*8 + mmr.DigestSize

func (s State) encode() []byte {
	b := make([]byte, 1, stateLen)
	b[0] = FormatVersion
	for _, n := range []uint64{s.Start, s.Size, s.Floor, s.Stored} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return append(b, s.Root[:]...)
}

func decodeState(b []byte) (State, error) {
	if len(b) != stateLen || b[0] != FormatVersion {
		return State{}, fmt.Errorf("state record of %d bytes, %d of version %d expected", len(b), stateLen, FormatVersion)
	}
	n := func(i int) uint64 { return binary.BigEndian.Uint64(b[1+8*i:]) }
	s := State{Start: n(0), Size: n(1), Floor: n(2), Stored: n(3), Root: mmr.Digest(b[33:])}
	if s.Start > s.Size || s.Size > s.Stored || s.Stored > mmr.MaxLeaves || s.Published() && s.Floor >= s.Size {
		return State{}, fmt.Errorf("state record contradicts itself: start %d size %d floor %d stored %d", s.Start, s.Size, s.Floor, s.Stored)
	}
	return s, nil
}

func encodePins(pins []mmr.Digest) []byte {
	b := make([]byte, 0, len(pins)*mmr.DigestSize)
	for _, p := range pins {
		b = append(b, p[:]...)
	}
	return b
}

func decodePins(b []byte, start uint64) ([]mmr.Digest, error) {
	want := len(mmr.Peaks(start))
	if len(b) != want*mmr.DigestSize {
		return nil, fmt.Errorf("%d bytes of pinned nodes, location %d has %d nodes", len(b), start, want)
	}
	pins := make([]mmr.Digest, want)
	for i := range pins {
		pins[i] = mmr.Digest(b[i*mmr.DigestSize:])
	}
	return pins, nil
}
