package database

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// FloorPolicy chooses the inactivity floor of commits to an immutable
// database. The zero value keeps the floor where it is.
type FloorPolicy struct {
	retain uint64 // operations kept below a commit; 0: keep all
}

// ParseFloorPolicy reads "keep" or "retain:N", N at least 1.
func ParseFloorPolicy(s string) (FloorPolicy, error) {
	if s == "keep" {
		return FloorPolicy{}, nil
	}
	digits, ok := strings.CutPrefix(s, "retain:")
	n, err := strconv.ParseUint(digits, 10, 64)
	if !ok || err != nil || n == 0 || n > math.MaxInt64 {
		return FloorPolicy{}, fmt.Errorf("unknown floor policy %.40q: keep or retain:N (N operations, at least 1) expected", s)
	}
	return FloorPolicy{retain: n}, nil
}

func (p FloorPolicy) String() string {
	if p.retain == 0 {
		return "keep"
	}
	return fmt.Sprintf("retain:%d", p.retain)
}

// MarshalText and UnmarshalText let configuration hold a policy.
func (p FloorPolicy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what ParseFloorPolicy does.
func (p *FloorPolicy) UnmarshalText(b []byte) error {
	q, err := ParseFloorPolicy(string(b))
	if err == nil {
		*p = q
	}
	return err
}

// Next is the floor of a commit at location commit, after a commit with floor prev.
func (p FloorPolicy) Next(prev, commit uint64) uint64 {
	if p.retain == 0 || commit < p.retain {
		return prev
	}
	return max(prev, commit-p.retain)
}
