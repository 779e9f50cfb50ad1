package fsck

import (
	"sync"

	"github.com/proofsync/proofsync/pkg/store"
)

// plan is what would repair a generation.
type plan struct {
	mu         sync.Mutex
	state      store.State // when it was checked
	fixes      []store.Fix
	rebuild    bool // fixes are not enough
	impossible bool // the operations themselves are damaged
	damaged    bool // in any way
}

// maxFixes is how many records are mended one by one; more are worth
// building everything anew.
const maxFixes = 10_000

// wants adds a fix; nil stands for one that takes a rebuild.
func (p *plan) wants(f *store.Fix) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f == nil || len(p.fixes) >= maxFixes {
		p.rebuild, p.fixes = true, nil
	}
	if !p.rebuild {
		p.fixes = append(p.fixes, *f)
	}
}

func (c *checker) fix(f store.Fix) { c.plan.wants(&f) }

func (p *plan) damage() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.damaged = true
}
