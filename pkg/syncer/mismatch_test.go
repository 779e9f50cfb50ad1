package syncer_test

import (
	"errors"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
	"github.com/proofsync/proofsync/pkg/syncer"
	"github.com/proofsync/proofsync/pkg/wire"
)

func TestMismatchOfFamilyOrEncodingIsNamed(t *testing.T) {
	all := newBeside()
	defer all.wait()
	for _, local := range sourcetest.Codecs {
		for _, remote := range sourcetest.Codecs {
			if local == remote {
				continue
			}
			all.run(t, local.String()+" follows "+remote.String(), func(t *testing.T) {
				right, wrong := sourcetest.Writer(t, local), sourcetest.Writer(t, remote)
				sourcetest.Commit(t, right, 1, 2, 20)
				sourcetest.Commit(t, wrong, 1, 3, 20)
				srv := sourcetest.Start(t, sourcetest.Honest(wrong))
				cl := newClient(t, local, syncer.Options{SyncInterval: 10 * time.Millisecond}, srv.Addr)
				stop := cl.run(t)
				until(t, "mismatch", func() bool { return cl.Status().Phase == syncer.PhaseMismatch })
				m := cl.Status().Mismatch
				if m == nil || m.Local != local || m.Remote != remote || m.Peer != srv.Addr {
					t.Errorf("got %v", m)
				}
				if cl.metric(t, "proofsync_sync_mismatch") != 1 {
					t.Error("no metric")
				}
				srv.Handle(sourcetest.Honest(right))
				until(t, "sync", func() bool { return cl.Status().Size == targetEnd(t, right) && cl.Status().Mismatch == nil })
				// An existing replica, smaller or larger, tells a mismatch from a fork.
				srv.Handle(sourcetest.Honest(wrong))
				until(t, "mismatch again", func() bool { return cl.Status().Phase == syncer.PhaseMismatch })
				stop()
				equal(t, right, cl.db)
				if n := cl.logs.count("mismatch: the source"); n != 1 { // twice within a minute
					t.Errorf("said %d times\n%s", n, cl.logs)
				}
				if cl.metric(t, "proofsync_sync_forks_total") != 0 {
					t.Error("taken for a fork")
				}
			})
		}
	}
}

func TestOnceReportsAMismatchWithAKeylessLog(t *testing.T) {
	for _, e := range []operation.Encoding{operation.Fixed, operation.Variable} {
		keyless := operation.NewCodec(operation.Keyless, e)
		op, err := keyless.Append(nil, operation.Operation{Kind: operation.Commit})
		if err != nil {
			t.Fatal(err)
		}
		run, err := keyless.NewRun(op)
		if err != nil {
			t.Fatal(err)
		}
		root, err := mmr.Root(1, 0, []mmr.Digest{mmr.HashLeaf(0, op)})
		if err != nil {
			t.Fatal(err)
		}
		srv := sourcetest.Start(t, func(c *sourcetest.Conn, m wire.Message) {
			switch m := m.(type) {
			case *wire.GetTarget:
				c.Send(&wire.TargetReply{ID: m.ID, Target: wire.Target{Root: root, End: 1}})
			case *wire.GetOperations:
				c.Send(&wire.Operations{ID: m.ID, Proof: mmr.Proof{Leaves: 1}, Run: run, HasPins: m.Pins})
			}
		})
		for _, local := range sourcetest.Codecs {
			cl := newClient(t, local, syncer.Options{Once: true}, srv.Addr)
			var mismatch *syncer.MismatchError
			if err := cl.Run(t.Context()); !errors.As(err, &mismatch) || mismatch.Remote != keyless {
				t.Errorf("%s follows %s: %v", local, keyless, err)
			}
		}
	}
}

// While a mismatch is known the peer is asked in a way it can answer: the
// connection is not lost over it.
func TestKnownMismatchIsNoOffence(t *testing.T) {
	remote := sourcetest.Codecs[1]
	wrong := sourcetest.Writer(t, remote)
	sourcetest.Commit(t, wrong, 1, 3, 20)
	srv := sourcetest.Start(t, sourcetest.Honest(wrong))
	cl := newClient(t, anyFixed, syncer.Options{TargetInterval: time.Millisecond}, srv.Addr)
	stop := cl.run(t)
	until(t, "mismatch", func() bool { return cl.Status().Phase == syncer.PhaseMismatch })
	connections, asked, failures := srv.Connections.Load(), srv.Data.Load(), cl.metric(t, "proofsync_sync_failures_total")
	until(t, "more polls", func() bool { return srv.Data.Load() >= asked+3 })
	stop()
	if n := srv.Connections.Load() - connections; n != 0 {
		t.Errorf("%d more connections", n)
	}
	if n := cl.metric(t, "proofsync_sync_failures_total"); n != failures || cl.logs.count("mismatch: the source") != 1 {
		t.Errorf("%v failures after %v\n%s", n, failures, cl.logs)
	}
}
