package linear

import (
	"fmt"
	"strings"

	"github.com/anishathalye/porcupine"
)

// keys are the keys that are written and read.
const keys = 4

// state is what the keys have; "": no value. Every value is written once.
type state [keys]string

// condition of a write.
type condition int

const (
	none condition = iota
	ifAbsent
	ifValue
	ifLocation // where the value was that the client read before
)

type write struct {
	key   int
	value string // "": delete
	cond  condition
	want  string // ifValue: the value; ifLocation: the value that was there
	loc   uint64
}

// call is a batch, or a reading of one key or of all of them (key < 0).
type call struct {
	batch []write
	key   int
}

// answer is what a call got.
type answer struct {
	applied bool // of a batch; otherwise a precondition failed
	read    state
}

func (w write) String() string {
	return fmt.Sprintf("%d=%q %s%q", w.key, w.value, [...]string{"", "if absent ", "if value ", "if where "}[w.cond], w.want)
}

// model is the database as a client may see it: one copy, one call at a time.
var model = porcupine.Model{
	Init:  func() any { return state{} },
	Equal: func(a, b any) bool { return a == b },
	Step: func(s, in, out any) (bool, any) {
		st, c, a := s.(state), in.(call), out.(answer)
		if c.batch == nil {
			if c.key < 0 {
				return a.read == st, st
			}
			return a.read[c.key] == st[c.key], st
		}
		next, holds, may := st, true, true
		for _, w := range c.batch {
			switch w.cond {
			case ifAbsent:
				holds = holds && st[w.key] == ""
			case ifValue:
				holds = holds && st[w.key] == w.want
			case ifLocation:
				// A location stands for one value, but raising the floor may
				// have moved it.
				holds = holds && st[w.key] == w.want
				may = false
			}
			next[w.key] = w.value
		}
		if a.applied {
			return holds, next
		}
		return !holds || !may, st
	},
	DescribeOperation: func(in, out any) string {
		c, a := in.(call), out.(answer)
		if c.batch == nil {
			return fmt.Sprintf("read %d: %q", c.key, a.read)
		}
		var ws []string
		for _, w := range c.batch {
			ws = append(ws, w.String())
		}
		return fmt.Sprintf("write %s: %v", strings.Join(ws, ", "), a.applied)
	},
}
