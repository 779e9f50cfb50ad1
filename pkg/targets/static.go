package targets

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/proofsync/proofsync/pkg/mmr"
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

// ParseTarget reads ROOT:START:END, a root in hexadecimal and the range of
// locations under it.
func ParseTarget(s string) (wire.Target, error) {
	want := fmt.Errorf("%.200q: ROOT:START:END expected, a root of %d hexadecimal digits and two locations", s, 2*mmr.DigestSize)
	parts := strings.Split(s, ":")
	if len(parts) != 3 {
		return wire.Target{}, want
	}
	root, err := mmr.ParseDigest(parts[0])
	if err != nil {
		return wire.Target{}, want
	}
	t := wire.Target{Root: root}
	for i, n := range []*uint64{&t.Start, &t.End} {
		if *n, err = strconv.ParseUint(parts[i+1], 10, 64); err != nil {
			return wire.Target{}, want
		}
	}
	if err := t.Validate(); err != nil {
		return wire.Target{}, fmt.Errorf("%.200q: %w", s, err)
	}
	return t, nil
}
