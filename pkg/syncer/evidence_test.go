package syncer

import (
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
	"github.com/proofsync/proofsync/pkg/wire"
)

func TestFilesOfForksArePacedAndBounded(t *testing.T) {
	c := sourcetest.Codecs[0]
	names := make(map[string]bool)
	for range 2 { // lives of the process
		s := New(sourcetest.Replica(t, c), sourceless{}, Options{})
		keep := func(n int) string {
			f := &fork{ForkError{Peer: "peer", Target: wire.Target{Root: mmr.Digest(sourcetest.Digest(1, uint64(n)))}}, new(evidence)}
			path := s.keepFork(f)
			if path == "" {
				t.Fatal("not kept")
			}
			names[path] = true
			return path
		}
		first := keep(0)
		for n := range 200 {
			if keep(n) != first {
				t.Fatal("another file within the minute")
			}
		}
		for n := range 200 {
			kept := s.forks["peer"]
			kept.at = kept.at.Add(-2 * time.Minute)
			s.forks["peer"] = kept
			keep(n)
		}
	}
	if len(names) < 2 || len(names) > mostForks {
		t.Errorf("%d files", len(names))
	}
}

// sourceless is a source that nobody asks.
type sourceless struct{ source.Source }

func (sourceless) Name() string { return "none" }
