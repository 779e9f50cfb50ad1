package interop

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// referenceVariable names the directory of the reference programs. It lacks our
// prefix because our commands refuse variables of it that they do not know.
const referenceVariable = "COMMONWARE_SYNC_BIN"

// programs are the paths of the four commands.
var programs struct {
	ourServer, ourClient             string
	referenceServer, referenceClient string
}

func TestMain(m *testing.M) {
	reference := os.Getenv(referenceVariable)
	if reference == "" {
		code := m.Run()
		fmt.Printf("%s is not set: nothing was tested against the reference programs\n", referenceVariable)
		// The go command turns this line into the remark [no tests to run]
		// behind the package, all that is seen of a package that skipped.
		fmt.Println("testing: warning: no tests to run")
		os.Exit(code)
	}
	os.Exit(runWith(m, reference))
}

// runWith builds our commands, and runs the tests with them and the reference's.
func runWith(m *testing.M, reference string) int {
	dir, err := os.MkdirTemp("", "proofsync-interop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-o", dir,
		"github.com/proofsync/proofsync/cmd/server", "github.com/proofsync/proofsync/cmd/client")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building our commands: %v\n%s", err, out)
		return 1
	}
	programs.ourServer, programs.ourClient = filepath.Join(dir, "server"), filepath.Join(dir, "client")
	programs.referenceServer, programs.referenceClient = filepath.Join(reference, "server"), filepath.Join(reference, "client")
	// A directory without the programs is a mistake to hear about, no reason to skip.
	for _, path := range []string{programs.referenceServer, programs.referenceClient} {
		if _, err := exec.LookPath(path); err != nil {
			fmt.Fprintf(os.Stderr, "%s=%s: %v\n", referenceVariable, reference, err)
			return 1
		}
	}
	return m.Run()
}

// needReference skips the test when the reference programs are not at hand.
func needReference(t *testing.T) {
	t.Helper()
	if programs.referenceServer == "" {
		t.Skipf("%s is not set; it names the directory of the programs of commonware-sync 2026.7.1", referenceVariable)
	}
}
