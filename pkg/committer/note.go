package committer

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/store"
)

// hash stands for an idempotency key, and mark for a fingerprint: the first
// half of a SHA-256, so that a key takes little room whatever its length.
type (
	hash [16]byte
	mark [16]byte
)

func hashOf(key string) hash {
	h := sha256.Sum256([]byte(key))
	return hash(h[:])
}

func markOf(fingerprint [32]byte) mark { return mark(fingerprint[:]) }

// notePrefix keeps the keys of notes apart from those of others; what follows
// is a hash.
const notePrefix = "idempotency/"

// A note's value: version, when it was written in nanoseconds since 1970, how
// long it holds in nanoseconds, base, operations of earlier parts, part (its
// lowest bit: more follow), mark. Since the time it holds is in the note, it
// means the same to a process with other settings.
const (
	noteVersion = 1
	noteSize    = 1 + 5*8 + len(mark{})
)

func noteKey(h hash) []byte { return append([]byte(notePrefix), h[:]...) }

func (r *record) note(h hash, written time.Time, holds time.Duration) database.Note {
	v := make([]byte, 0, noteSize)
	v = append(v, noteVersion)
	for _, n := range []uint64{uint64(written.UnixNano()), uint64(holds), r.base, r.earlier, uint64(r.part)} {
		v = binary.BigEndian.AppendUint64(v, n)
	}
	return database.Note{Key: noteKey(h), Value: append(v, r.mark[:]...)}
}

// parseNote reads a note. left is how long it holds from now on; if the clock
// was set back since it was written, no longer than it was to hold.
func parseNote(key, v []byte, now time.Time) (h hash, r record, left time.Duration, err error) {
	if len(key) != len(h) || len(v) != noteSize || v[0] != noteVersion {
		return h, r, 0, &store.CorruptError{Where: fmt.Sprintf("note %q", key), Err: errors.New("not of a form known here")}
	}
	number := func(i int) uint64 { return binary.BigEndian.Uint64(v[1+8*i:]) }
	written, holds := time.Unix(0, int64(number(0))), time.Duration(number(1))
	left = min(holds, written.Add(holds).Sub(now))
	r = record{base: number(2), earlier: number(3), part: uint32(number(4)), mark: mark(v[1+5*8:])}
	return hash(key), r, left, nil
}
