package vectors

import (
	"bytes"
	"testing"
)

// The totals make sure that no file is left out when the archives are packed
// anew, and none is skipped by a test that ranges over them.
func TestArchivesAreComplete(t *testing.T) {
	positive, negative := map[string]int{}, 0
	codecs := map[string]int{}
	for _, c := range Captures(t) {
		codecs[c.Codec()]++
		for _, k := range c.Cases {
			if c.Negative() {
				negative++
			} else {
				positive[k.Expect]++
			}
		}
	}
	if n := len(Captures(t)); n != 42 {
		t.Errorf("%d captures, want 42", n)
	}
	if negative != 7142 {
		t.Errorf("%d negative cases, want 7142", negative)
	}
	for expect, want := range map[string]int{
		"verifies": 1175, "error code 0": 224, "error code 1": 126, "error code 3": 22,
		"no reply, connection stays open": 202, "connection closed": 72,
	} {
		if positive[expect] != want {
			t.Errorf("%d cases %q, want %d", positive[expect], expect, want)
		}
	}
	if codecs["any/fixed"]+codecs["immutable/fixed"]+codecs["keyless/fixed"] != 42 {
		t.Errorf("codecs of the captures: %v", codecs)
	}

	workloads, commits, refused, operations := 0, 0, 0, 0
	for _, w := range Workloads(t) {
		workloads++
		for _, c := range w.Commits {
			commits++
			operations += c.OpCount
			if c.Refused != "" {
				refused++
			}
			if c.Ops != nil && len(c.Ops) != c.OpCount {
				t.Errorf("%s: %s: %d operations, want %d", w.File, w.Name, len(c.Ops), c.OpCount)
			}
		}
	}
	if workloads != 23 || commits != 221 || refused != 2 || operations != 127125 {
		t.Errorf("%d workloads, %d commits, %d refused, %d operations", workloads, commits, refused, operations)
	}

	proofs, altered := 0, 0
	for _, w := range ProofWorkloads(t) {
		for _, c := range w.Commits {
			if c.RangeProofs == nil {
				continue
			}
			for _, p := range c.RangeProofs.Proofs {
				proofs++
				altered += len(p.Altered)
			}
		}
	}
	if proofs != 130 || altered != 604 {
		t.Errorf("%d range proofs, %d altered ones", proofs, altered)
	}
	for name, want := range map[string]int{
		"any/fixed": 97, "any/variable": 124, "immutable/fixed": 73, "immutable/variable": 70,
		"keyless/fixed": 73, "keyless/variable": 88,
	} {
		if n := len(OperationCodecs(t)[name]); n != want {
			t.Errorf("%s: %d operation cases, want %d", name, n, want)
		}
	}
}

func TestBatchesAreExpandedInCallOrder(t *testing.T) {
	var ranges, deletes, explicit int
	for _, w := range Workloads(t) {
		for _, c := range w.Commits {
			for _, raw := range c.RawBatch {
				if raw[0] == '{' {
					ranges++
				} else {
					explicit++
				}
			}
			for _, x := range c.Writes() {
				if x.Delete != (x.Value == nil) {
					t.Fatalf("write %+v", x)
				}
				if x.Delete {
					deletes++
				}
			}
		}
	}
	if ranges == 0 || deletes == 0 || explicit == 0 {
		t.Errorf("%d ranges, %d deletes, %d explicit writes", ranges, deletes, explicit)
	}
	for _, w := range Workloads(t) {
		if w.File != "any_fixed" || w.Name != "long" {
			continue
		}
		// {"from": 0, "to": 9578, "add": 1}
		ws := w.Commits[0].Writes()
		if len(ws) != 9578 || !bytes.Equal(ws[9].Key, numbered('k', 9)) || !bytes.Equal(ws[9].Value, numbered('v', 10)) {
			t.Errorf("%d writes, the tenth is %x: %x", len(ws), ws[9].Key, ws[9].Value)
		}
	}
}
