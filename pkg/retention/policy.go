package retention

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Policy says how much of the log below the inactivity floor is kept. The zero
// value keeps everything. What lies from the floor on is always kept.
type Policy struct {
	operations uint64        // this many; 0: see age
	age        time.Duration // what was added within this time; 0: everything
}

// minAge is the shortest age that can be kept.
const minAge = time.Second

// ParsePolicy reads "all", a number of operations (at least 1), or an age of at
// least a second in the syntax of time.ParseDuration or in days, as 30d.
func ParsePolicy(s string) (Policy, error) {
	if s == "all" {
		return Policy{}, nil
	}
	if n, err := strconv.ParseUint(s, 10, 64); err == nil && n > 0 && n <= math.MaxInt64 {
		return Policy{operations: n}, nil
	}
	if age, ok := parseAge(s); ok && age >= minAge {
		return Policy{age: age}, nil
	}
	return Policy{}, fmt.Errorf("unknown retention %.40q: %s expected", s, Syntax)
}

// Syntax is what ParsePolicy accepts.
const Syntax = "all, a number of operations from 1 on, or an age such as 90m or 30d"

func parseAge(s string) (time.Duration, bool) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err == nil
	}
	age, err := time.ParseDuration(s)
	return age, err == nil
}

func (p Policy) String() string {
	switch {
	case p.operations > 0:
		return strconv.FormatUint(p.operations, 10)
	case p.age > 0:
		return p.age.String()
	}
	return "all"
}

// MarshalText and UnmarshalText let configuration hold a policy.
func (p Policy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what ParsePolicy does.
func (p *Policy) UnmarshalText(b []byte) error {
	q, err := ParsePolicy(string(b))
	if err == nil {
		*p = q
	}
	return err
}

// start is where a log with this floor may begin, at the time now; 0: nothing
// has to go.
func (p Policy) start(floor uint64, m *marks, now time.Time) uint64 {
	switch {
	case p.operations > 0 && floor > p.operations:
		return floor - p.operations
	case p.age > 0:
		return min(floor, m.sizeAt(now.Add(-p.age)))
	}
	return 0
}
