package targets

import (
	"context"

	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/wire"
)

// Static is a source.Source with one target, which the operator vouches for. It
// follows nothing.
type Static struct {
	pool   source.Source
	target wire.Target
}

// NewStatic returns a Static in front of pool, which it does not own.
func NewStatic(pool source.Source, t wire.Target) *Static { return &Static{pool, t} }

// Name implements source.Source.
func (s *Static) Name() string { return s.pool.Name() }

// Target implements source.Source.
func (s *Static) Target(context.Context) (source.Target, error) {
	return source.Target{Target: s.target, Peer: "the operator", Signed: true}, nil
}

// Operations implements source.Source.
func (s *Static) Operations(ctx context.Context, r source.Request) (*source.Answer, error) {
	return s.pool.Operations(ctx, r)
}

// Sources implements source.Group: there is one who names targets.
func (s *Static) Sources() int { return 1 }

// Report implements source.Reporter.
func (s *Static) Report(peer string, v source.Verdict) {
	if r, ok := s.pool.(source.Reporter); ok {
		r.Report(peer, v)
	}
}
