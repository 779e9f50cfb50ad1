package demo_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/proofsync/proofsync/pkg/demo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDemonstrationChecksItselfAndCleansUp(t *testing.T) {
	var out bytes.Buffer
	dir := t.TempDir()
	s, err := demo.Run(t.Context(), demo.Options{Out: &out, Rounds: 3, TempDir: dir})
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if s.Rounds != 3 || s.Tampered != 1 || s.Refused != 1 || !s.Recovered || s.Records == 0 || s.KeyRead == "" {
		t.Errorf("%+v", s)
	}
	text := out.String()
	for _, want := range []string{"material", "import ", "edited", "tampering", "refused", "recovered", "client-a has", "client-b has"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	// In a row that is final, all three roots are the same.
	if root := s.Root.String()[:12]; strings.Count(text, root+"  "+root+"  "+root) != 1 {
		t.Errorf("no row with the final root %s three times:\n%s", root, text)
	}
	if strings.Contains(text, "\r") {
		t.Error("control characters in output that is no terminal")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestKeptDirectoriesAreNamed(t *testing.T) {
	s, err := demo.Run(t.Context(), demo.Options{Rounds: 1, Keep: true, TempDir: t.TempDir(), Live: true})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(s.Directory)
	if err != nil || len(entries) != 4 { // server, two clients, program.jsonl
		t.Errorf("%v %v", entries, err)
	}
}

func TestInterruptedDemonstrationCleansUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	if _, err := demo.Run(ctx, demo.Options{TempDir: dir}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestOutputThatCannotBeWrittenIsAnError(t *testing.T) {
	if _, err := demo.Run(t.Context(), demo.Options{Out: brokenPipe{}, Rounds: 1, TempDir: t.TempDir()}); err == nil {
		t.Error("no error")
	}
}
