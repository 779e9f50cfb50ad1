package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/proofsync/proofsync/pkg/app"
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"proofsync": main,
		"server":    func() { os.Exit(app.ServerMain(os.Args[1:], app.OS())) },
		"client":    func() { os.Exit(app.ClientMain(os.Args[1:], app.OS())) },
	})
}

// stops is a line of a script that ends it, as passed, whatever comes after it.
var stops = regexp.MustCompile(`(?m)^(\[.*\] *)?stop\b`)

func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range scripts {
		if text, err := os.ReadFile(path); err != nil || stops.Match(text) {
			t.Errorf("%s: stop ends a script without a word: end NAME ends a process (%v)", path, err)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Values[processesKey{}] = make(processes)
			// The race detector lets every process wait for a second at its end.
			e.Setenv("GORACE", "atexit_sleep_ms=0")
			// A folder that has the programs under test and no others.
			program, err := exec.LookPath("proofsync")
			e.Setenv("PROGRAMS", filepath.Dir(program))
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start": scriptStart, "end": scriptEnd, "await": scriptAwait, "socket": scriptSocket,
			"flip": scriptFlip, "tamper": scriptTamper, "exits": scriptExits, "until": scriptUntil, "keys": scriptKeys, "append": scriptAppend, "post": scriptPost,
			// hold DIR keeps a database of any/fixed open until the script ends.
			"hold": func(ts *testscript.TestScript, _ bool, args []string) {
				db, err := database.Open(ts.MkAbs(args[0]), database.Options{Codec: operation.NewCodec(operation.Any, operation.Fixed)})
				ts.Check(err)
				ts.Defer(func() { ts.Check(db.Close()) })
			},
		},
	})
}

func execute(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(args, streams{strings.NewReader(""), &stdout, &stderr})
	return code, stdout.String(), stderr.String()
}

func TestErrorsAreOneLineWithTheRightExitCode(t *testing.T) {
	dir := t.TempDir()
	foreign := filepath.Join(dir, "foreign")
	if err := os.MkdirAll(foreign, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(foreign, "photo.jpg"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	input := filepath.Join(dir, "x.jsonl")
	if err := os.WriteFile(input, []byte(`{"key":"a","value":"1"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	if code, _, errs := execute(t, "import", "-d", data, input); code != 0 {
		t.Fatal(errs)
	}
	missing := filepath.Join(dir, "missing")
	for _, tc := range []struct {
		args string
		code int
		want string
	}{
		{"frobnicate", 2, `unknown command "frobnicate"`},
		{"gte", 2, "did you mean get?"},
		{"--frobnicate", 2, "unknown flag: --frobnicate"},
		{"demo now", 2, `unexpected argument "now"`},
		{"demo --rounds 0", 2, "--rounds 0: 1 to 10000 expected"},
		{"demo --interval -1s", 2, "--interval -1s"},
		{"demo --interval x", 2, "--interval"},
		{"demo --log-level loud", 2, `--log-level "loud": debug, info, warn or error expected`},
		{"demo --log-format xml", 2, `--log-format "xml": text or json expected`},
		{"bench --ops 0", 2, "operations 0: 1 to"},
		{"bench --runs 0", 2, "runs 0: 1 to"},
		{"bench --batch-size 0", 2, "batch size 0: 1 to 10000 expected"},
		{"bench --batch-size many", 2, "many"},
		{"bench --sizes 10,0", 2, "operations 0: 1 to"},
		{"bench --scenario cold-sink", 2, `scenario "cold-sink": one of cold-sync, catch-up, `},
		{"bench --warm-up -1", 2, "warm-up -1: 0 to"},
		{"bench --value-size 0", 2, "--value-size 0: 1 or more expected"},
		{"bench --value-size 100", 2, "value size 100: the encoding fixed has values of 32 bytes"},
		{"bench --encoding variable --value-size 70000", 2, "value size 70000: 1 to 65536 expected"},
		{"bench --cache-size much", 2, `--cache-size "much": bytes such as`},
		{"bench --family keyless", 2, "keyless"},
		{"bench --db keyless", 2, "keyless"},
		{"bench --encoding wide", 2, "wide"},
		{"import", 2, "argument PATH is missing"},
		{"import x", 2, "--storage-dir is missing"},
		{"import -d " + data + " --batch-size 0 " + input, 2, "--batch-size 0: at least 1 expected"},
		{"import -d " + data + " --format xml " + input, 2, `format "xml": jsonl or csv expected`},
		{"import -d " + data + " --floor-policy never " + input, 2, "keep or retain:N"},
		{"import -d " + data + " --db other " + input, 2, "other"},
		{"import -d " + data + " - -", 2, "once only"},
		{"import -d " + data + " --encoding variable " + missing, 1, "holds a database of any/fixed, not of any/variable"},
		{"import -d " + data + " " + missing, 1, "missing: no such file or directory"},
		{"import -d " + data + " --db immutable " + input, 1, "holds a database of any/fixed, not of immutable/fixed"},
		{"import -d " + data + " --encoding variable " + input, 1, "holds a database of any/fixed, not of any/variable"},
		{"import -d " + foreign + " " + input, 1, "not a proofsync directory"},
		{"import -d " + input + " " + input, 1, "x.jsonl"},
		{"get", 2, "argument KEY is missing"},
		{"get a b", 2, `unexpected argument "b"`},
		{"get a", 2, "where is the database? --url or --storage-dir expected"},
		{"get -d x -u http://y a", 2, "--url and --storage-dir exclude each other"},
		{"get -u http://127.0.0.1:1 --timeout 0s a", 2, "--timeout 0s: more than 0s expected"},
		{"get -u ftp://x a", 2, "http://host:port"},
		{"get -u unix://x a", 2, "unix:///path/to/proofsync.sock"},
		{"get -u unix://" + missing + " a", 1, "no server or client listens there"},
		{"get -u 127.0.0.1:1 a", 1, "is a server or client running there, with that --http-port?"},
		{"get -u 127.0.0.1:1 --token-file " + missing + " a", 1, missing},
		{"get -u 127.0.0.1:1 --token-file " + input + " a", 1, "connection refused"},
		{"get -u 127.0.0.1:1 --token-file " + os.DevNull + " a", 1, "one token in one line expected"},
		{"get -d " + data + " --bytes base32 a", 2, "base64url, hex, utf8 expected"},
		{"get -d " + data + " --output xml a", 2, "table or json expected"},
		{"get -d " + data + " --at-size 2 a", 1, "proofsync log --commits"},
		{"get -d " + data + " --at-size -1 a", 2, "--at-size"},
		{"list x", 2, `unexpected argument "x"`},
		{"list -d " + data + " --prefix a", 2, "keys of the encoding fixed are digests"},
		{"list -d " + data + " --prefix x --hex", 2, "hexadecimal digits expected"},
		{"list -d " + data + " --prefix " + strings.Repeat("00", 33) + " --hex", 1, "33"},
		{"put -d " + data, 2, "argument KEY is missing"},
		{"put -d " + data + " a", 2, `argument VALUE of "a" is missing`},
		{"put -d " + data + " a 1 b", 2, `argument VALUE of "b" is missing`},
		{"put -d " + data + " --value-file " + input + " a 1", 2, "the value of one KEY"},
		{"put -d " + data + " --value-file " + missing + " a", 1, missing},
		{"put -d " + data + " a - b -", 2, "standard input can be one VALUE only"},
		{"put -d " + data + " --if-absent --if-value x a 1", 2, "exclude each other"},
		{"put -d " + data + " --if-value x a 1 b 2", 2, "--if-value is about one KEY, not 2"},
		{"put -d " + data + " a 1 a 2", 1, "twice"},
		{"put -d " + data + " --if-root xyz a 1", 1, "if_root"},
		{"put -d " + data + " --floor 1 a 1", 1, "floor"},
		{"put -d " + missing + " a 1", 1, "no database in this directory: " + missing},
		{"delete -d " + data, 2, "argument KEY is missing"},
		{"delete -d " + data + " --if-absent a", 2, "unknown flag: --if-absent"},
		{"delete -d " + data + " --if-value other a", 1, "another value"},
		{"log -d " + data + " --start 1000", 1, "the log ends at"},
		{"log -d " + data + " --commits --start 1", 2, "--start is of operations"},
		{"log -d " + data + " --before 1", 2, "--before is of --commits"},
		{"status -d " + data + " --check", 1, "not ready"},
		{"watch -d " + data, 1, "no process holds the directory"},
		{"watch -d " + data + " --prefix x", 2, "--changes expected"},
		{"get -d " + data + " --hex xyz", 2, `KEY "xyz": hexadecimal digits expected`},
		{"get -d " + data + " --base64 *", 2, `KEY "*": base64`},
		{"get -d " + data + " --hex --base64 00", 2, "exclude each other"},
		{"get -d " + data + " --raw --output json a", 2, "exclude each other"},
		{"get -d " + data + " nobody", 1, `key not found: "nobody" at size`},
		{"get -d " + missing + " a", 1, "no database in this directory: " + missing},
		{"inspect", 2, "argument DIR is missing"},
		{"inspect " + missing, 1, "no database in this directory: " + missing},
		{"inspect " + foreign, 1, foreign},
	} {
		code, out, errs := execute(t, strings.Fields(tc.args)...)
		if code != tc.code || !strings.Contains(errs, tc.want) {
			t.Errorf("%s: exit code %d and %q, want %d and %q", tc.args, code, errs, tc.code, tc.want)
		}
		if out != "" && !strings.HasPrefix(tc.args, "status") || !strings.HasPrefix(errs, "proofsync: ") || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: not one line: %q %q", tc.args, out, errs)
		}
	}
}

// A failed import must not leave the impression of data, nor settle what a
// directory that did not exist is for.
func TestBrokenImportMakesNoDatabase(t *testing.T) {
	dir := t.TempDir()
	input, data := filepath.Join(dir, "x.jsonl"), filepath.Join(dir, "data")
	if err := os.WriteFile(input, []byte("{\"key\":\"a\",\"value\":\"1\"}\n{\"key\":\"b\"}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	code, _, errs := execute(t, "import", "-d", data, input)
	if want := "proofsync: " + input + ":2: no value\n"; code != 1 || errs != want {
		t.Errorf("exit code %d and %q, want %q", code, errs, want)
	}
	if _, err := os.Stat(data); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory is there: %v", err)
	}
	if err := os.WriteFile(input, []byte("{\"key\":\"a\",\"value\":\"1\"}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := execute(t, "import", "-d", data, "--encoding", "variable", input); code != 0 {
		t.Errorf("another try with another encoding: %d %q", code, errs)
	}
}

func TestReadThatWaitsForInputEndsWithItsContext(t *testing.T) {
	for name, cancelled := range map[string]bool{"cancelled": true, "ended": false} {
		ctx, cancel := context.WithCancel(t.Context())
		silent, silence := io.Pipe()
		r := interruptible(ctx, silent)
		go func() {
			fmt.Fprint(silence, "first")
			if cancelled {
				cancel()
			} else {
				silence.Close()
			}
		}()
		got, err := io.ReadAll(r)
		// What was read just before the end may be lost with it.
		if !cancelled && string(got) != "first" || cancelled != errors.Is(err, context.Canceled) || !cancelled && err != nil {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		silence.Close()
		cancel()
	}
}

func TestCommandsOnOneDirectoryTakeTurns(t *testing.T) {
	dir := imported(t, `{"key":"a","value":"1"}`)
	// What a process that was killed leaves behind is nobody who answers.
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, socketName), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	var commands sync.WaitGroup
	for i := range 4 {
		commands.Go(func() {
			key := fmt.Sprint("key", i)
			if code, _, errs := execute(t, "put", "-d", dir, key, "1"); code != 0 {
				t.Error(errs)
			}
			if code, _, errs := execute(t, "get", "-d", dir, key); code != 0 {
				t.Error(errs)
			}
		})
	}
	commands.Wait()
}

func TestEveryCommandExplainsItselfWithExamples(t *testing.T) {
	for _, cmd := range newRoot().Commands() {
		if cmd.Hidden || cmd.Name() == "help" || cmd.Name() == "completion" {
			continue
		}
		code, out, errs := execute(t, cmd.Name(), "--help")
		if code != 0 || errs != "" || !strings.Contains(out, "Examples:") || !strings.Contains(out, "proofsync "+cmd.Name()) {
			t.Errorf("%s: %d %q %q", cmd.Name(), code, out, errs)
		}
		if strings.Contains(out, "child") {
			t.Errorf("%s: shows what is hidden", cmd.Name())
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s: --%s has no help", cmd.Name(), f.Name)
			}
		})
	}
	if code, out, _ := execute(t, "--version"); code != 0 || !strings.HasPrefix(out, "proofsync version=") {
		t.Errorf("version: %d %q", code, out)
	}
	if code, out, _ := execute(t); code != 0 || !strings.Contains(out, "Read and write:") {
		t.Errorf("no arguments: %d %q", code, out)
	}
}

func TestCompletions(t *testing.T) {
	for args, want := range map[string]string{
		"import --db ":           "immutable",
		"import --encoding ":     "variable",
		"verify --db ":           "immutable",
		"verify --encoding ":     "variable",
		"import --format ":       "csv",
		"import --log-level ":    "debug",
		"import --floor-policy ": "retain:",
		"bench --db ":            "any",
		"demo --log-format ":     "json",
		"":                       "inspect",
		"get --bytes ":           "base64url",
		"list --output ":         "json",
	} {
		fields := append([]string{cobra.ShellCompRequestCmd}, strings.Split(args, " ")...)
		if _, out, _ := execute(t, fields...); !strings.Contains(out, want+"\n") && !strings.Contains(out, want+"\t") {
			t.Errorf("%q: %q is not offered in %q", args, want, out)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if code, out, errs := execute(t, "completion", shell); code != 0 || len(out) < 100 {
			t.Errorf("%s: %d %q", shell, code, errs)
		}
	}
}
