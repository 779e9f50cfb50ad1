package verify

import (
	"fmt"
	"strings"

	"github.com/proofsync/proofsync/pkg/operation"
)

// Proven is what a proof shows: these operations stand at these locations
// under this root. It says nothing about operations after them.
type Proven struct {
	Codec      operation.Codec
	Location   uint64 // of the first operation
	Operations []operation.Operation
	Root       Root // the trusted one
}

// Says puts into words what was proven, and what was not.
func (p *Proven) Says() string {
	var b strings.Builder
	first := &p.Operations[0]
	if n := len(p.Operations); n == 1 {
		fmt.Fprintf(&b, "operation %d %s", p.Location, does(first))
	} else {
		fmt.Fprintf(&b, "the %d operations from location %d to %d are these, none left out between them", n, p.Location, p.Location+uint64(n)-1)
	}
	fmt.Fprintf(&b, ", under %s (%s). ", p.Root, p.Codec)
	if p.Location+uint64(len(p.Operations)) == p.Root.Size {
		b.WriteString("Nothing comes after it under this root.")
		return b.String()
	}
	if len(p.Operations) == 1 && first.Key != nil {
		b.WriteString("Not proven: that no later operation changed this key.")
	} else {
		b.WriteString("Not proven: what the operations after that did.")
	}
	return b.String()
}

// does says what one operation does.
func does(op *operation.Operation) string {
	switch op.Kind {
	case operation.Update, operation.Set:
		return fmt.Sprintf("gives key %s the value %s", quote(op.Key), quote(op.Value))
	case operation.Delete:
		return fmt.Sprintf("deletes key %s", quote(op.Key))
	}
	s := fmt.Sprintf("is a commit with floor %d", op.Floor)
	if op.Value != nil {
		s += " and metadata " + quote(op.Value)
	}
	return s
}
