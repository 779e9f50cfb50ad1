//go:build !purego

package sha256x2

import (
	"crypto/fips140"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Linux reads the processor's flags as well.
func TestTheProcessorIsRecognized(t *testing.T) {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Skip("no /proc/cpuinfo to compare with")
	}
	var flags []string
	for line := range strings.Lines(string(info)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "flags" {
			flags = strings.Fields(value)
			break
		}
	}
	want := slices.Contains(flags, "ssse3") && slices.Contains(flags, "sse4_1") && slices.Contains(flags, "sha_ni")
	if got := supported(); got != want {
		t.Fatalf("supported: %v, want %v by the flags %q", got, want, flags)
	}
}

// In FIPS mode only Go's validated module hashes. The mode is chosen when a
// process starts, so this one starts another.
func TestFIPSModeLeavesEverythingToGo(t *testing.T) {
	const child = "PROOFSYNC_TEST_FIPS"
	if fips140.Enabled() || os.Getenv(child) != "" {
		if enabled || !fips140.Enabled() {
			t.Fatalf("FIPS mode %v, enabled %v", fips140.Enabled(), enabled)
		}
		return
	}
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), "GODEBUG=fips140=on", child+"=1")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
