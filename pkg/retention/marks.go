package retention

import (
	"encoding/binary"
	"fmt"
	"time"
)

// The log has no times, so a policy of age has to remember when it had which
// size. Marks are kept in a note beside the log (docs/format.md section 3):
// at most maxMarks of 16 bytes, the seconds of the Unix time and the size.
const (
	maxMarks  = 256
	markBytes = 16
	// marksPerAge is how finely an age is divided: what is pruned is at most
	// this part of it older than it has to be.
	marksPerAge = 100
)

// markNote is the key of the note.
const markNote = "retention/marks"

// mark says that the log had this size at that time.
type mark struct {
	unix int64 // seconds
	size uint64
}

// marks ascend in both time and size. The zero value is empty.
type marks struct{ list []mark }

// sizeAt is a size the log had at t or before: what lies below is older.
func (m *marks) sizeAt(t time.Time) uint64 {
	var size uint64
	for _, x := range m.list {
		if x.unix > t.Unix() {
			break
		}
		size = x.size
	}
	return size
}

// add remembers the size of the log, if the last mark is old enough, and
// forgets marks that a policy of this age has no use for. It says whether
// anything changed. While a clock is behind the last mark, as after it was set
// back, nothing is added: things are kept longer then, never shorter.
func (m *marks) add(now time.Time, size uint64, age time.Duration) bool {
	// A rebuilt replica may be shorter than what was remembered of its past.
	for n := len(m.list); n > 0 && m.list[n-1].size > size; n-- {
		m.list = m.list[:n-1]
	}
	if n := len(m.list); n > 0 {
		last := m.list[n-1]
		if last.size == size || now.Unix()-last.unix < max(1, int64(age/time.Second)/marksPerAge) {
			return false
		}
	}
	m.list = append(m.list, mark{now.Unix(), size})
	// Of those that are old enough the newest one is all that counts.
	cut := now.Add(-age).Unix()
	old := 0
	for old+1 < len(m.list) && m.list[old+1].unix <= cut {
		old++
	}
	m.list = append(m.list[:0], m.list[old:]...)
	if len(m.list) > maxMarks { // of a longer age than now: every other one will do
		thin := m.list[:0]
		for i, x := range m.list {
			if i%2 == 0 || i == len(m.list)-1 {
				thin = append(thin, x)
			}
		}
		m.list = thin
	}
	return true
}

func (m *marks) encode() []byte {
	b := make([]byte, 0, markBytes*len(m.list))
	for _, x := range m.list {
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, uint64(x.unix)), x.size)
	}
	return b
}

func decodeMarks(b []byte) (marks, error) {
	var m marks
	if len(b)%markBytes != 0 || len(b) > maxMarks*markBytes {
		return m, fmt.Errorf("note %q of %d bytes: at most %d marks of %d bytes expected", markNote, len(b), maxMarks, markBytes)
	}
	for ; len(b) > 0; b = b[markBytes:] {
		x := mark{int64(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint64(b[8:])}
		if n := len(m.list); n > 0 && (x.unix < m.list[n-1].unix || x.size < m.list[n-1].size) {
			return marks{}, fmt.Errorf("note %q: marks are not in order", markNote)
		}
		m.list = append(m.list, x)
	}
	return m, nil
}
