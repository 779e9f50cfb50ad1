package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/document"
)

func TestStatusInWords(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	eta, last := 75.4, now.Add(-2*time.Minute)
	s := &document.Status{
		Role: document.RoleClient, Version: "v1", Family: "any", Encoding: "fixed", State: document.StateSyncing,
		Message: "fetching\x1b[2J operations", Started: now.Add(-100 * time.Hour),
		Head:   &document.Head{Root: "aa", Size: 10, Floor: 3, Start: 1},
		Target: &document.Target{Root: "bb", End: 30}, Lag: &document.Lag{Operations: 20, Seconds: 12.3},
		Sync: &document.Sync{
			Phase: "syncing", Stored: 20, Progress: 0.5, Rate: 1234.5, ETASeconds: &eta, LastSync: &last,
			Failures: 2, Stalled: true, Following: true, LastError: "connection\nreset",
		},
		Sources: []document.Source{
			{Name: "a:1", State: document.SourceConnected, Following: true},
			{Name: "b:1", State: document.SourceCoolDown, CoolDownSeconds: 3, LastError: "wrong answer"},
			{Name: "c:1", State: document.SourceDisconnected},
		},
	}
	var got []string
	for _, r := range statusRows(s, paint{}, now) {
		got = append(got, fmt.Sprintf("%s: %s", r[0], r[1]))
	}
	want := []string{
		"state: syncing: fetching [2J operations",
		"process: client v1, any/fixed",
		"running: for 4 days",
		"ready: no",
		"writes: not taken",
		"size: 10", "root: aa", "floor: 3", "start: 1",
		"target: 30, root bb",
		"lag: 20 operations, 12s",
		"sync: syncing, 50.0%, 20 stored, 1234 operations/s, 1m15s to go, following, 2 failures in a row, stalled",
		"in step: 2m0s ago",
		"last error: connection reset",
		"source: a:1 connected, pushes",
		"source: b:1 cool down, 3s more: wrong answer",
		"source: c:1 disconnected",
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
	// A target that is old says nothing of the present.
	s.Lag = nil
	if rows := statusRows(s, paint{}, now); !slices.Contains(rows, [2]string{"lag", "unknown"}) {
		t.Errorf("got %q", rows)
	}
	for state, colour := range map[string]string{
		document.StateServing: "\x1b[32m", document.StateForked: "\x1b[31m", document.StateBehind: "\x1b[33m", "novel": "\x1b[33m",
	} {
		if rows := statusRows(&document.Status{State: state}, paint{true}, now); !strings.HasPrefix(rows[0][1], colour) {
			t.Errorf("%s: %q", state, rows[0][1])
		}
	}
}
