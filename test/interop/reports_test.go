package interop

import (
	"bufio"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
)

// The lines the tests read. Both sides write "message key=value".
var (
	ourListening   = regexp.MustCompile(`server listening.* addr=(\S+)`)
	ourMetrics     = regexp.MustCompile(`metrics and probes listening addr=(\S+)`)
	ourReady       = regexp.MustCompile(`database ready op_count=(\d+) root=([0-9a-f]{64})`)
	ourStarting    = regexp.MustCompile(`starting sync sync_iteration=`)
	ourCompleted   = regexp.MustCompile(`sync completed successfully sync_iteration=\d+ database_ops=(\d+) root=([0-9a-f]{64})`)
	ourCommits     = regexp.MustCompile(`(?:database ready|added operations) .*root=([0-9a-f]{64})`)
	ourWaits       = regexp.MustCompile(`a client waits: it has reached a limit`)
	ourMismatch    = regexp.MustCompile(`mismatch.* local=any/fixed remote=keyless/fixed`)
	theirListening = regexp.MustCompile(`server listening`)
	theirReady     = regexp.MustCompile(`database ready size=Location\((\d+)\) .*root=([0-9a-f]{64})`)
	theirCompleted = regexp.MustCompile(`sync completed successfully sync_iteration=\d+ root=([0-9a-f]{64})`)
	theirTargets   = regexp.MustCompile(`Target \{ root: ([0-9a-f]{64}), range: Location\(\d+\)\.\.Location\((\d+)\) \}`)
)

// state is a size of a log and its root, as a program reported them.
type state struct {
	size uint64
	root mmr.Digest
}

func parseState(t *testing.T, size, root string) state {
	t.Helper()
	n, err := strconv.ParseUint(size, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return state{n, parseRoot(t, root)}
}

func parseRoot(t *testing.T, s string) mmr.Digest {
	t.Helper()
	d, err := mmr.ParseDigest(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// roots returns the roots that lines named in their first group, in order.
func roots(t *testing.T, lines [][]string) []mmr.Digest {
	t.Helper()
	var all []mmr.Digest
	for _, l := range lines {
		all = append(all, parseRoot(t, l[1]))
	}
	return all
}

// history is the root at every commit boundary a directory retains, computed
// by our database from the operations it holds.
type history struct {
	roots map[uint64]mmr.Digest
	sizes map[mmr.Digest]uint64
}

// readHistory opens the directory of a command that has ended.
func readHistory(t *testing.T, dir string, family operation.Family) history {
	t.Helper()
	db, err := database.Open(dir, database.Options{Codec: operation.NewCodec(family, operation.Fixed), ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	view, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	h := history{make(map[uint64]mmr.Digest), make(map[mmr.Digest]uint64)}
	for size := view.Start() + 1; size <= view.Size(); size++ {
		root, err := view.RootAt(size)
		if errors.Is(err, database.ErrNotBoundary) {
			continue
		}
		if err != nil {
			t.Fatalf("root at %d: %v", size, err)
		}
		h.roots[size], h.sizes[root] = root, size
	}
	return h
}

// metric reads the value of a metric without labels from one of our commands.
func metric(t *testing.T, p *process, name string) float64 {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + p.await(ourMetrics, 1)[0][1] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("%s has no metric %s (%v)", p.name, name, lines.Err())
	return 0
}

// eventually waits until f holds.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(pause) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}
