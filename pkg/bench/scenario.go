package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// scenario is something users wait for, in one or more variants.
type scenario struct {
	name     string
	variants func(o Options) []variant
}

// variant is a scenario in one configuration.
type variant struct {
	scenario string
	name     string // tells variants apart; may be empty
	batch    int    // 0: does not apply
	program  string

	// begin prepares a session, and returns what one run is. Runs come one after
	// the other; each of them checks what it came to.
	begin func(ctx context.Context, s *session) (run, error)
}

// run is one measurement.
type run func(ctx context.Context) (sample, error)

// scenarios in the order in which they are measured.
func scenarios() []scenario {
	return []scenario{
		{"cold-sync", coldSyncs},
		{"catch-up", catchUps},
		{"follow", follows},
		{"reopen", reopens},
		{"import", imports},
		{"commit", commits},
		{"read", func(Options) []variant { return reads("read", false) }},
		{"read-absent", func(Options) []variant { return reads("read-absent", true) }},
		{"prove", proves},
		{"serve", serves},
		{"fsck", checks},
	}
}

// Scenarios are the names of all scenarios, in the order in which they are measured.
func Scenarios() []string {
	var names []string
	for _, s := range scenarios() {
		names = append(names, s.name)
	}
	return names
}

// variants are what the options ask for.
func (o Options) variants() []variant {
	var all []variant
	for _, s := range scenarios() {
		if !slices.Contains(o.Scenarios, s.name) {
			continue
		}
		for _, v := range s.variants(o) {
			v.scenario = s.name
			if v.program == "" {
				v.program = ours
			}
			all = append(all, v)
		}
	}
	return all
}

// title names a variant, for logs and files.
func (v *variant) title() string {
	parts := []string{v.scenario}
	if v.program != ours {
		parts = append(parts, v.program)
	}
	if v.name != "" {
		parts = append(parts, v.name)
	}
	if v.batch > 0 {
		parts = append(parts, fmt.Sprintf("batch %d", v.batch))
	}
	return strings.Join(parts, ", ")
}
