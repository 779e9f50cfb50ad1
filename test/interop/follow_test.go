package interop

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/syncer"
)

// written is a log that can be read while it is written.
type written struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *written) count(s string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Count(w.b.Bytes(), []byte(s))
}

// A replica that asks to be told of new targets must get on with a server that
// has never heard of such a thing, over one connection, as if it had not asked.
func TestReferenceServerIsPolledByAReplicaThatWouldFollow(t *testing.T) {
	needReference(t)
	for _, family := range []operation.Family{operation.Any, operation.Immutable} {
		t.Run(family.String(), func(t *testing.T) {
			port, dir, codec := freePort(t), t.TempDir(), operation.NewCodec(family, operation.Fixed)
			server := referenceServer(t, t.TempDir(), port, family.String(), "50ms", "-i", "100")
			db, err := database.Open(dir, database.Options{Codec: codec})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			logged := new(written)
			log := slog.New(slog.NewTextHandler(logged, nil))
			peer := source.NewPeer("127.0.0.1:"+port, source.PeerOptions{Codec: codec, Timeout: 500 * time.Millisecond, Logger: log})
			pool := source.NewPool([]source.Source{peer}, source.PoolOptions{Logger: log})
			defer pool.Close()
			replica := syncer.New(db, pool, syncer.Options{
				Follow: true, SyncInterval: 100 * time.Millisecond, TargetInterval: 50 * time.Millisecond, Logger: log,
			})
			ctx, cancel := context.WithCancel(t.Context())
			var run sync.WaitGroup
			run.Go(func() {
				if err := replica.Run(ctx); err != nil {
					t.Error(err)
				}
			})
			var states []state
			for range followed {
				var last uint64
				if len(states) > 0 {
					last = states[len(states)-1].size
				}
				eventually(t, "the replica grows", func() bool { return replica.Status().Size > last })
				st := replica.Status()
				states = append(states, state{st.Size, st.Root})
			}
			eventually(t, "said that the server is polled", func() bool { return logged.count("does not push new targets") == 1 })
			last := replica.Status().Size
			eventually(t, "the replica grows after that", func() bool { return replica.Status().Size > last })
			if replica.Status().Following || logged.count("peer lost") > 0 {
				t.Errorf("following %t, %d times lost", replica.Status().Following, logged.count("peer lost"))
			}
			cancel()
			run.Wait()
			mustBeCommitted(t, server, states)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			mustMatchStorage(t, dir, family, states)
			server.stop(syscall.SIGKILL)
		})
	}
}
