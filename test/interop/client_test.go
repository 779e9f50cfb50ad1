package interop

import (
	"os"
	"regexp"
	"slices"
	"syscall"
	"testing"

	"github.com/proofsync/proofsync/pkg/operation"
)

// referenceServer starts a server of the reference on a port of its own and
// waits until it listens.
func referenceServer(t *testing.T, dir, port, family, interval string, args ...string) *process {
	t.Helper()
	p := start(t, programs.referenceServer, append([]string{
		"--family", family, "-p", port, "-m", freePort(t), "-d", dir, "-t", interval,
	}, args...)...)
	p.await(theirListening, 1)
	return p
}

// completed returns what our client has reported so far, at least n syncs.
func completed(t *testing.T, client *process, n int) []state {
	t.Helper()
	var all []state
	for _, line := range client.await(ourCompleted, n) {
		all = append(all, parseState(t, line[1], line[2]))
	}
	return all
}

// mustBeCommitted checks that sizes never shrink and that the server has logged
// every root; its line may come a moment after the target could be asked for.
func mustBeCommitted(t *testing.T, server *process, states []state) {
	t.Helper()
	var last uint64
	for i, s := range states {
		server.await(regexp.MustCompile(`(?:database ready|added operations) .*root=`+s.root.String()), 1)
		if s.size < last {
			t.Errorf("sync %d: size %d after %d", i, s.size, last)
		}
		last = s.size
	}
}

// mustMatchStorage checks every reported state against the replica's own directory.
func mustMatchStorage(t *testing.T, dir string, family operation.Family, states []state) {
	t.Helper()
	log := readHistory(t, dir, family)
	for i, s := range states {
		if log.roots[s.size] != s.root {
			t.Errorf("sync %d: root %v at %d, the replica says %v", i, s.root, s.size, log.roots[s.size])
		}
	}
}

// frozen restarts the server with a log that stands still and waits for the
// client to arrive at exactly its size and root.
func frozen(t *testing.T, client *process, dir, port, family string) {
	t.Helper()
	server := referenceServer(t, dir, port, family, "1h")
	ready := server.await(theirReady, 1)[0]
	client.await(regexp.MustCompile(`sync completed successfully .* database_ops=`+ready[1]+` root=`+ready[2]), 1)
}

func TestOurClientFollowsReferenceServer(t *testing.T) {
	needReference(t)
	tests := []struct {
		name           string
		family         operation.Family
		server, client []string
	}{
		{"any", operation.Any, []string{"-i", "100"}, nil},
		{"immutable", operation.Immutable, []string{"-i", "100"}, nil},
		{"any with many operations", operation.Any, []string{"-i", "5000"}, nil},
		// The reference answers with 100 operations at most, whatever was asked for.
		{"any with batches it cuts short", operation.Any, []string{"-i", "2000"}, []string{"-b", "500"}},
		{"immutable with batches it cuts short", operation.Immutable, []string{"-i", "2000"}, []string{"-b", "10000"}},
		{"immutable with one request at a time", operation.Immutable, []string{"-i", "500"}, []string{"-r", "1", "-b", "1"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			family, port := test.family.String(), freePort(t)
			theirDir, dir := t.TempDir(), t.TempDir()
			server := referenceServer(t, theirDir, port, family, "50ms", test.server...)
			client := start(t, programs.ourClient, append([]string{
				"--db", family, "-s", "127.0.0.1:" + port, "-m", "0", "--http-port", "0", "-d", dir, "-t", "50ms", "-i", "200ms",
			}, test.client...)...)
			states := completed(t, client, followed)
			mustBeCommitted(t, server, states)
			if n := len(slices.CompactFunc(slices.Clone(states), func(a, b state) bool { return a.size == b.size })); n < 3 {
				t.Errorf("the log grew in %d of %d syncs", n, len(states))
			}
			if n := metric(t, client, "proofsync_sync_verification_failures_total"); n != 0 {
				t.Errorf("%v answers of an honest server were refuted", n)
			}
			server.stop(syscall.SIGKILL)
			frozen(t, client, theirDir, port, family)
			client.terminate()
			mustMatchStorage(t, dir, test.family, completed(t, client, followed+1))
		})
	}
}

func TestOurClientGoesOnAfterKills(t *testing.T) {
	needReference(t)
	for _, family := range []operation.Family{operation.Any, operation.Immutable} {
		t.Run(family.String(), func(t *testing.T) {
			const initial, kills = 3000, 3
			port, theirDir, dir := freePort(t), t.TempDir(), t.TempDir()
			server := referenceServer(t, theirDir, port, family.String(), "50ms", "-i", "3000")
			follow := func(args ...string) *process {
				return start(t, programs.ourClient, append([]string{
					"--db", family.String(), "-s", "127.0.0.1:" + port, "-m", "0", "--http-port", "0", "-d", dir, "-t", "50ms", "-i", "50ms",
				}, args...)...)
			}
			// The first kill comes during the first sync, which small requests one at a time make long.
			client := follow("-b", "1", "-r", "1")
			client.await(ourStarting, 1) // has its metrics by then
			eventually(t, "operations arrive", func() bool {
				return metric(t, client, "proofsync_sync_verified_operations_total") > 0
			})
			client.stop(os.Kill)
			if n := len(client.matches(ourCompleted)); n > 0 {
				t.Errorf("killed too late: %d syncs completed", n)
			}
			client = follow()
			var all []state
			for kill := range kills {
				all = append(all, completed(t, client, 2)...)
				if code := client.stop(os.Kill); code != -1 {
					t.Fatalf("kill %d: exit code %d", kill, code)
				}
				client = follow()
				// Everything published before the kill is still there; only what is new was asked for.
				resumed := completed(t, client, 2)
				if last := all[len(all)-1]; resumed[0].size < last.size {
					t.Errorf("kill %d: size %d, %d before it", kill, resumed[0].size, last.size)
				}
				if n := metric(t, client, "proofsync_sync_verified_operations_total"); n == 0 || n > initial/2 {
					t.Errorf("kill %d: %v operations fetched afterwards", kill, n)
				}
			}
			all = append(all, completed(t, client, 2)...)
			mustBeCommitted(t, server, all)
			server.stop(syscall.SIGKILL)
			frozen(t, client, theirDir, port, family.String())
			client.terminate()
			mustMatchStorage(t, dir, family, all)
		})
	}
}

func TestOurClientNamesTheFamilyOfAForeignServer(t *testing.T) {
	needReference(t)
	port := freePort(t)
	referenceServer(t, t.TempDir(), port, "keyless", "50ms")
	client := start(t, programs.ourClient, "-s", "127.0.0.1:"+port, "-m", "0", "--http-port", "0", "-d", t.TempDir(), "-t", "50ms", "-i", "50ms")
	client.await(ourMismatch, 1)
	eventually(t, "the mismatch shows in the metrics", func() bool {
		return metric(t, client, "proofsync_sync_mismatch") == 1
	})
	if client.ended() {
		t.Error("a foreign server ended our client")
	}
	client.terminate()
}
