package syncer

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/wire"
)

func pushedBy(peer string, end uint64) source.Target {
	return source.Target{Target: wire.Target{Root: mmr.Digest{byte(end)}, End: end}, Peer: peer}
}

func TestPeerWhosePushFailedIsNotListenedToForAnInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{TargetInterval: time.Second}.withDefaults("")
		p := newPushes(&Syncer{o: o, m: o.Metrics, log: o.Logger, track: newTracker(o.Metrics)})
		want := func(end uint64, wait time.Duration) {
			t.Helper()
			got, ok, w := p.newest(5, 0)
			if ok != (end > 0) || got.End != end || w != wait {
				t.Errorf("newest %v, %t, wait %v; want %d, %v", got, ok, w, end, wait)
			}
		}
		want(0, 0)
		p.put(pushedBy("a", 5)) // no news
		want(0, 0)
		p.put(pushedBy("a", 7))
		p.put(pushedBy("b", 1<<40))
		want(1<<40, 0)
		p.forget(pushedBy("b", 1<<40))
		want(7, 0)
		p.put(pushedBy("b", 1<<41))
		if got := p.s.Status().Target.End; got != 1<<40 {
			t.Errorf("the status names a target of %d, of a peer that is not listened to", got)
		}
		time.Sleep(300 * time.Millisecond)
		want(7, 700*time.Millisecond)
		p.put(pushedBy("a", 8))
		want(8, 700*time.Millisecond)
		time.Sleep(700 * time.Millisecond)
		want(1<<41, 0)
		p.forget(pushedBy("c", 9)) // never pushed anything
		want(1<<41, 0)
	})
}
