package interop

import (
	"net"
	"slices"
	"syscall"
	"testing"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
)

// followed is how many syncs a client has to complete while the log grows.
const followed = 4

func TestReferenceClientFollowsOurServer(t *testing.T) {
	needReference(t)
	tests := []struct {
		name           string
		family         operation.Family
		server, client []string // further arguments
		waits          bool     // the client comes to limits
	}{
		{"any", operation.Any, []string{"-i", "100"}, nil, false},
		{"immutable", operation.Immutable, []string{"-i", "100"}, nil, false},
		{"immutable with a moving floor", operation.Immutable, []string{"-i", "1000", "--floor-policy", "retain:200"}, nil, false},
		{"any with many operations", operation.Any, []string{"-i", "5000"}, nil, false},
		{"immutable with large batches in parallel", operation.Immutable, []string{"-i", "5000"}, []string{"-b", "1000", "-r", "8"}, false},
		// It waits, a few answers a second, and is told of no error.
		{"any under low limits", operation.Any, []string{"-i", "6000", "--limit-requests-per-client", "45", "--limit-target-requests", "100", "--limit-bytes", "256KiB"}, nil, true},
		{"any with short answers", operation.Any, []string{"-i", "1000", "--max-ops-per-response", "7"}, []string{"-r", "4"}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir, theirDir := t.TempDir(), t.TempDir()
			flags := []string{"--db", test.family.String(), "-m", "0", "--http-port", "0", "-d", dir}
			server := start(t, programs.ourServer, slices.Concat(flags, []string{"-p", "0", "-t", "50ms"}, test.server)...)
			address := server.await(ourListening, 1)[0][1]
			follow := slices.Concat([]string{"--family", test.family.String(), "-s", address, "-d", theirDir, "-t", "50ms", "-i", "200ms"}, test.client)
			client := start(t, programs.referenceClient, slices.Concat(follow, []string{"-m", freePort(t)})...)

			reported := roots(t, client.await(theirCompleted, followed))
			client.stop(syscall.SIGKILL)
			server.terminate()
			if waited := len(server.matches(ourWaits)) > 0; waited != test.waits {
				t.Errorf("the client had to wait: %v, want %v", waited, test.waits)
			}
			committed := make(map[mmr.Digest]bool)
			for _, root := range roots(t, server.matches(ourCommits)) {
				committed[root] = true
			}
			log := readHistory(t, dir, test.family)
			var last, grown uint64
			for i, root := range reported {
				size, ok := log.sizes[root]
				switch {
				case !ok:
					t.Fatalf("sync %d: root %v is none of our %d", i, root, len(log.sizes))
				case !committed[root]:
					t.Errorf("sync %d: root %v was never logged by our server", i, root)
				case size < last:
					t.Errorf("sync %d: size %d after %d", i, size, last)
				case size > last:
					grown++
				}
				last = size
			}
			if grown < 3 {
				t.Errorf("the log grew in %d of %d syncs", grown, len(reported))
			}
			// The targets it was told on the way name their sizes themselves.
			for _, line := range client.matches(theirTargets) {
				if s := parseState(t, line[2], line[1]); log.roots[s.size] != s.root {
					t.Errorf("target %v at %d, our root there is %v", s.root, s.size, log.roots[s.size])
				}
			}

			// Both go on from their directories: a log that stands still has one root to agree on.
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				t.Fatal(err)
			}
			server = start(t, programs.ourServer, slices.Concat(flags, []string{"-p", port, "-t", "0"})...)
			server.await(ourListening, 1)
			ready := server.await(ourReady, 1)[0]
			client = start(t, programs.referenceClient, slices.Concat(follow, []string{"-m", freePort(t)})...)
			want := parseState(t, ready[1], ready[2])
			if got := roots(t, client.await(theirCompleted, 1))[0]; got != want.root {
				t.Errorf("after a restart: root %v, want %v at %d", got, want.root, want.size)
			}
			server.terminate()
		})
	}
}
