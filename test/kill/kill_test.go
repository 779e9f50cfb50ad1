package kill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/fsck"
	"github.com/proofsync/proofsync/pkg/remote"
)

const (
	writers = 4
	token   = "a-token-of-some-length"
)

// writer posts batches one after the other, each until it is acknowledged.
type writer struct {
	id     int
	client *remote.Client
	acked  *acknowledged
}

// acknowledged is what the server answered, of all writers.
type acknowledged struct {
	count atomic.Uint64 // batches

	mu      sync.Mutex
	newest  uint64            // size
	roots   map[uint64]string // by size
	values  map[string]string // of every key; "": deleted
	repeats int               // batches that were sent again and had been committed before
}

// note takes an answer, and compares it with earlier ones.
func (a *acknowledged) note(c *document.Committed, writes []remote.Write) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count.Add(1)
	if c.Replayed {
		a.repeats++
	}
	if old, ok := a.roots[c.Size]; ok && old != c.Root {
		return fmt.Errorf("size %d was acknowledged with root %s and with root %s", c.Size, old, c.Root)
	}
	a.roots[c.Size] = c.Root
	a.newest = max(a.newest, c.Size)
	for _, w := range writes {
		a.values[string(w.Key)] = string(w.Value)
	}
	return nil
}

// run writes until ctx ends, and finishes the batch it has begun.
func (w *writer) run(ctx context.Context) error {
	for n := 0; ctx.Err() == nil; n++ {
		name := fmt.Sprintf("%d-%d", w.id, n)
		b := remote.Batch{IdempotencyKey: name, Writes: []remote.Write{
			{Key: []byte("batch/" + name), Value: []byte(name)},
			{Key: fmt.Appendf(nil, "last/%d/%d", w.id, n%20), Value: []byte(name)},
		}}
		if old := n - 30; old >= 0 && old%3 == 0 {
			b.Writes = append(b.Writes, remote.Write{Key: fmt.Appendf(nil, "batch/%d-%d", w.id, old), Delete: true})
		}
		for end := time.Now().Add(patience); ; {
			c, err := w.client.Apply(context.WithoutCancel(ctx), b)
			if err == nil {
				if err := w.acked.note(c, b.Writes); err != nil {
					return err
				}
				break
			}
			if time.Now().After(end) {
				return fmt.Errorf("batch %s: %w", name, err)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	return nil
}

// waitFor waits until some more batches were acknowledged.
func (a *acknowledged) waitFor(t *testing.T, more uint64) {
	t.Helper()
	began := time.Now()
	for from := a.count.Load(); a.count.Load() < from+more; time.Sleep(2 * time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatalf("%d more batches were not acknowledged within %s", more, patience)
		}
	}
}

func TestKillsLoseNothing(t *testing.T) {
	kills := 6
	if s := os.Getenv("PROOFSYNC_KILLS"); s != "" {
		var err error
		if kills, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	serves := port(t)
	server := newProgram(t, "server", "--port", serves, "-i", "2000", "-t", "30ms", "--write-token-file", file)
	client := newProgram(t, "client", "--server", "127.0.0.1:"+serves, "--follow", "--sync-interval", "50ms", "--target-update-interval", "10ms")
	server.start(t)
	client.start(t)

	acked := &acknowledged{roots: map[uint64]string{}, values: map[string]string{}}
	end := startWriters(t, server, acked)
	rng := rand.New(rand.NewPCG(6, uint64(kills)))
	killed := map[string]int{}
	for n := range kills {
		p := []*program{server, client}[n%2]
		if rng.IntN(6) > 0 { // else it is killed while it starts
			acked.waitFor(t, 1+rng.Uint64N(25))
		}
		time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
		p.kill(t)
		killed[p.name]++
		p.start(t)
	}
	acked.waitFor(t, 5)
	end()

	head := settle(t, server, client)
	t.Logf("killed %v, %d batches acknowledged, %d of them sent again, in the end %d operations with root %s",
		killed, acked.count.Load(), acked.repeats, head.Size, head.Root)
	for _, p := range []*program{server, client} {
		holds(t, p, acked)
	}
	for _, p := range []*program{client, server} {
		if err := p.stop(); err != nil {
			t.Error(err)
			continue
		}
		r, err := fsck.Check(t.Context(), p.dir, fsck.Options{})
		if err != nil || !r.Clean() {
			t.Errorf("fsck of the %s: %+v %v", p.name, r, err)
		}
	}
}

// startWriters writes until the function it returns is called.
func startWriters(t *testing.T, server *program, acked *acknowledged) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for id := range writers {
		c, err := remote.New(server.api, remote.Options{Token: token, Timeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		w := &writer{id: id, client: c, acked: acked}
		running.Go(func() {
			defer c.Close()
			if err := w.run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	end = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(end)
	return end
}

// api is a client of a program's API.
func api(t *testing.T, p *program) *remote.Client {
	t.Helper()
	c, err := remote.New(p.api, remote.Options{Timeout: 5 * time.Second, Bytes: document.UTF8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// settle waits until the client has a state of the server's that is newer than
// the last acknowledged batch, which the server goes beyond all the time.
func settle(t *testing.T, server, client *program) document.Head {
	t.Helper()
	s, c := api(t, server), api(t, client)
	var last error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		ours, err := s.Status(t.Context())
		theirs, err2 := c.Status(t.Context())
		if last = errors.Join(err, err2); last != nil || ours.Head == nil || theirs.Head == nil || theirs.Head.Size < ours.Head.Size {
			continue
		}
		roots, err := commitRoots(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if got := roots[theirs.Head.Size]; got != theirs.Head.Root {
			t.Fatalf("the client has root %s at size %d, the server %q", theirs.Head.Root, theirs.Head.Size, got)
		}
		return *theirs.Head
	}
	t.Fatalf("the client did not come to the server's state: %v", last)
	return document.Head{}
}

// commitRoots are the roots of all commits, by size.
func commitRoots(ctx context.Context, c *remote.Client) (map[uint64]string, error) {
	roots := map[uint64]string{}
	for commit, err := range c.Commits(ctx, remote.CommitsOptions{}) {
		if err != nil {
			return nil, err
		}
		roots[commit.Size] = commit.Root
	}
	return roots, nil
}

// holds checks that every acknowledged commit and value is there.
func holds(t *testing.T, p *program, a *acknowledged) {
	t.Helper()
	c := api(t, p)
	roots, err := commitRoots(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	first := uint64(1 << 62) // a replica retains a part only
	for size := range roots {
		first = min(first, size)
	}
	lost := 0
	for size, root := range a.roots {
		if size >= first && roots[size] != root {
			lost++
			t.Errorf("the %s has root %q at size %d, %s was acknowledged", p.name, roots[size], size, root)
		}
	}
	values := map[string]string{}
	for _, prefix := range []string{"batch/", "last/"} {
		for e, err := range c.List(t.Context(), remote.ListOptions{Prefix: []byte(prefix), Values: true}) {
			if err != nil {
				t.Fatal(err)
			}
			values[e.Key] = *e.Value
		}
	}
	for key, want := range a.values {
		if got := values[key]; got != want {
			lost++
			t.Errorf("the %s has %q as %s, %q was acknowledged", p.name, got, key, want)
		}
		if lost > 20 {
			t.Fatal("and so on")
		}
	}
}
