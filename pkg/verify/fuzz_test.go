package verify_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/verify"
)

// FuzzAnswer: no answer, whatever it is, makes the library panic, and none
// proves what the log does not hold.
func FuzzAnswer(f *testing.F) {
	v, key := grown(f, operation.NewCodec(operation.Any, operation.Variable), 12, 7)
	trusted := trustIn(v)
	log := map[uint64]string{}
	for loc := range v.Size() {
		p, err := verify.Proof(proofOf(f, v, loc, loc+1), trusted)
		ok(f, err)
		log[loc] = fmt.Sprint(p.Operations[0])
	}
	for _, form := range []document.Bytes{document.Base64URL, document.Hex} {
		for _, d := range []any{entryOf(f, v, key, form), operationsOf(f, v, 3, 5, form)} {
			b, err := json.Marshal(d)
			ok(f, err)
			f.Add(b)
		}
	}
	f.Add([]byte(`{"proof":{"kind":"operation","family":"any","encoding":"variable","size":18446744073709551615,"location":18446744073709551615,"operations":[""]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		check := func(p *verify.Proven, err error) {
			if err != nil {
				reason(t, err)
				return
			}
			p.Says()
			for i, op := range p.Operations {
				if got := fmt.Sprint(op); log[p.Location+uint64(i)] != got {
					t.Errorf("location %d: proven is %s, the log has %s", p.Location+uint64(i), got, log[p.Location+uint64(i)])
				}
			}
		}
		var e document.Entry
		if json.Unmarshal(b, &e) == nil {
			check(verify.Entry(&e, trusted))
		}
		var o document.Operations
		if json.Unmarshal(b, &o) == nil {
			check(verify.Operations(&o, trusted))
		}
	})
}

// FuzzTrust: a proof that is checked against whatever root the fuzzer says
// holds under the root it was made for and no other.
func FuzzTrust(f *testing.F) {
	v, key := grown(f, operation.NewCodec(operation.Immutable, operation.Fixed), 40, 8)
	entry := entryOf(f, v, key, document.Hex)
	f.Add(entry.Root, entry.Size, entry.Proof.InactivePeaks, entry.Location)
	f.Add(entry.Root, uint64(1)<<62, uint64(1)<<62, uint64(1)<<62-1)
	f.Fuzz(func(t *testing.T, root string, size, inactive, location uint64) {
		trusted, err := verify.ParseRoot(root, size, "immutable", "fixed")
		if err != nil {
			return
		}
		proof := *entry.Proof
		proof.Root, proof.Size, proof.InactivePeaks, proof.Location = root, size, inactive, location
		if p, err := verify.Proof(&proof, trusted); err == nil {
			if p.Root != trustIn(v) || location != entry.Location {
				t.Errorf("proven: %s", p.Says())
			}
		} else {
			reason(t, err)
		}
	})
}
