package bench

import (
	"context"
	"errors"
	"fmt"

	"github.com/proofsync/proofsync/pkg/fsck"
)

// checking is a child that checks a directory.
type checking struct{ job job }

func newFsck(_ context.Context, j job) (worker, answer, error) { return checking{j}, answer{}, nil }

func (checking) close() error { return nil }

// do checks everything. The report has to be clean, and about Size operations
// that lead to Root.
func (c checking) do(ctx context.Context, s step) (a answer, err error) {
	watch := startWatch()
	r, err := fsck.Check(ctx, c.job.Dir, fsck.Options{CacheBytes: c.job.CacheBytes, Logger: discard})
	watch.stop(&a)
	if err != nil {
		return a, err
	}
	for _, f := range r.Findings {
		if !r.Clean() {
			return a, fmt.Errorf("%d findings of damage, the first: %s", r.Damages, f)
		}
	}
	for _, g := range r.Generations {
		if g.InUse {
			if g.Size != s.Size || g.Root != s.Root || g.Operations != g.Size-g.Start {
				return a, fmt.Errorf("%d operations of %d, root %s were checked; %d with root %s expected", g.Operations, g.Size, g.Root, s.Size, s.Root)
			}
			a.Size, a.Root, a.Operations = g.Size, g.Root, g.Operations
			return a, nil
		}
	}
	return a, errors.New("no generation is in use")
}
