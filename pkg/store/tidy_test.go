package store

import "testing"

func TestWhatWasWrittenIsMergedInQuietTimes(t *testing.T) {
	for _, id := range []Identity{fixedIdentity, variableIdentity} {
		t.Run(id.Database, func(t *testing.T) {
			d := openDir(t, MemFS(), id)
			defer d.Close()
			l := newLog(t, d, id)
			defer l.close()
			l.g.tidier.closed = true // the directory's clock is not ours
			const least = 1 << 20
			tidier := tidier{least: least, busy: least / 8}
			tick := func(n int) {
				for range n {
					tidier.tick(l.g.size, l.g.tidy)
				}
				tidier.done.Wait()
			}
			write := func(bytes int64, expect int) {
				before := l.g.tidier.written.Load()
				for l.g.tidier.written.Load() < before+bytes {
					l.append(512, expect)
					l.commit(true)
				}
				tidier.written.Add(l.g.tidier.written.Load() - before)
			}
			layers := func() int { return l.g.Metrics().ReadAmp() }
			tick(quietTicks)
			for range 3 {
				write(least/2, bulkOperations)
			}
			if layers() < 3 {
				t.Fatalf("%d layers: there is nothing to be merged", layers())
			}
			tick(quietTicks)
			if layers() < 3 {
				t.Fatal("merged while the writing went on")
			}
			tick(1)
			if layers() != 1 {
				t.Fatalf("%d layers afterwards", layers())
			}

			// Too little to be worth it, until it adds up.
			write(least/2, 0)
			tick(2 * quietTicks)
			if tidier.written.Load() == 0 {
				t.Fatal("merged for little")
			}
			write(least/2, 0)
			tick(2 * quietTicks)
			if tidier.written.Load() > 0 || layers() != 1 {
				t.Fatal("small commits are never merged")
			}
			l.verify()
		})
	}
}
