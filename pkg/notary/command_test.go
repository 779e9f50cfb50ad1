package notary

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/wire"
)

// Variables of the process that signs.
const (
	commandMode = "NOTARY_TEST_MODE"
	commandKey  = "NOTARY_TEST_KEY"
)

// command is a signer command.
func command(mode string) {
	text, _ := io.ReadAll(os.Stdin)
	c, err := checkpoint.Parse(string(text))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	signer, _ := checkpoint.ParseSigner(os.Getenv(commandKey))
	if mode == "another size" {
		c.Target.End++
	}
	note, _ := checkpoint.Sign(c, signer)
	_, sigs, _ := strings.Cut(string(note), "\n\n")
	switch mode {
	case "note", "another size":
		fmt.Printf("%s", note)
	case "lines":
		fmt.Print(sigs)
	case "lines and more":
		fmt.Print(sigs + "and more\n")
	case "text alone":
		fmt.Printf("%s\n", text)
	case "longer text":
		fmt.Print(string(text) + "more 1\n\n" + sigs)
	case "broken line":
		fmt.Print(strings.TrimSuffix(sigs, "\n"))
	case "no base64":
		fmt.Print("— writer !!!!\n")
	case "endless":
		for range 1 << 16 {
			fmt.Print(sigs)
		}
	case "failing":
		fmt.Fprintln(os.Stderr, "the token\x1b[2J is not there")
		os.Exit(3)
	case "hanging":
		time.Sleep(time.Minute)
	case "silent":
	}
}

func TestACommandSigns(t *testing.T) {
	key := newPair(t, "writer")
	t.Setenv(commandKey, key.private)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // or the race detector lets every process wait for a second
	c := checkpoint.Checkpoint{
		Origin: logName, Target: wire.Target{Root: mmr.Digest{1}, End: 9}, Codec: anyFixed, Time: time.Now().UTC().Truncate(time.Second),
	}
	trust := checkpoint.Trust{Origin: logName, Codec: anyFixed, Keys: []checkpoint.Key{key.public}, Quorum: 1}
	for mode, want := range map[string]reason{
		"note": -1, "lines": -1, "another size": reasonInvalid, "lines and more": reasonInvalid, "text alone": reasonInvalid,
		"longer text": reasonInvalid, "broken line": reasonInvalid, "no base64": reasonInvalid, "endless": reasonInvalid,
		"silent": reasonInvalid, "failing": reasonSigner, "hanging": reasonTimeout,
	} {
		t.Setenv(commandMode, mode)
		timeout := time.Minute
		if mode == "hanging" {
			timeout = 50 * time.Millisecond
		}
		cmd, err := NewCommand(os.Args[0]+"  -ignored", timeout)
		if err != nil {
			t.Fatal(err)
		}
		note, err := cmd.Sign(t.Context(), c)
		if want < 0 {
			if err == nil {
				_, err = trust.Verify(note, time.Now())
			}
			if err != nil {
				t.Errorf("%s: %v", mode, err)
			}
			continue
		}
		refused, ok := errors.AsType[*Error](err)
		if !ok || refused.reason != want || strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%s: %q, note %q", mode, err, note)
		}
		if mode == "failing" && !strings.Contains(err.Error(), "exit status 3: the token [2J is not there") {
			t.Errorf("got %v", err)
		}
	}
	t.Setenv(commandMode, "hanging")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	cmd, _ := NewCommand(os.Args[0], 0)
	if _, err := cmd.Sign(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ended: %v", err)
	}
	for _, bad := range []string{"", "  ", "/no/such/program -x"} {
		if _, err := NewCommand(bad, 0); err == nil {
			t.Errorf("command %q is taken", bad)
		}
	}
}
