package store

import "testing"

func TestTablesOfBulkCommitsAreMergedWhenTheyAreOver(t *testing.T) {
	for _, id := range []Identity{fixedIdentity, variableIdentity} {
		t.Run(id.Database, func(t *testing.T) {
			d := openDir(t, MemFS(), id)
			defer d.Close()
			l := newLog(t, d, id)
			defer l.close()
			runs := func() int { return l.g.Metrics().ReadAmp() }
			for range 3 {
				l.append(300, bulkOperations) // not a multiple of a bundle
				l.commit(true)
			}
			if runs() < 3 {
				t.Fatalf("%d runs of tables before: there is nothing to be merged", runs())
			}
			for range tidyAfter - 1 {
				d.opened.tick()
			}
			l.g.tidier.done.Wait()
			if runs() < 3 {
				t.Fatal("merged before its time")
			}
			d.opened.tick()
			l.g.tidier.done.Wait()
			if runs() != 1 {
				t.Fatalf("%d runs of tables afterwards", runs())
			}
			l.verify()
			merged := l.g.Metrics().Compact.Count
			for range 2 * tidyAfter {
				d.opened.tick()
			}
			l.g.tidier.done.Wait()
			if n := l.g.Metrics().Compact.Count; n != merged {
				t.Fatalf("%d merges without a bulk commit", n-merged)
			}
		})
	}
}
