package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/proofsync/proofsync/pkg/store/storetest"
)

// patience bounds every wait of a script; only a failing test waits for it.
const patience = 20 * time.Second

// processes are the background processes of a script, by name.
type processes map[string]*exec.Cmd

// processesKey is where a script keeps them.
type processesKey struct{}

// scriptStart is
//
//	start NAME PROGRAM [ARG...]
//
// It runs a program in the background, with standard output in NAME.out and
// standard error in NAME.log, until "end NAME" or the end of the script.
func scriptStart(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start NAME PROGRAM [ARG...]")
	}
	running := ts.Value(processesKey{}).(processes)
	cmd := exec.Command(filepath.Join(ts.Getenv("PROGRAMS"), args[1]), args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = []string{"GORACE=" + ts.Getenv("GORACE"), "TMPDIR=" + ts.Getenv("WORK"), "GOCOVERDIR=" + os.Getenv("GOCOVERDIR")}
	for suffix, to := range map[string]*io.Writer{".out": &cmd.Stdout, ".log": &cmd.Stderr} {
		f, err := os.Create(ts.MkAbs(args[0] + suffix))
		ts.Check(err)
		defer f.Close()
		*to = f
	}
	ts.Check(cmd.Start())
	running[args[0]] = cmd
	ts.Defer(func() {
		if running[args[0]] == cmd {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
}

// scriptEnd is
//
//	end NAME
//
// It asks a process to end, which has to do so with exit code 0.
func scriptEnd(ts *testscript.TestScript, neg bool, args []string) {
	running := ts.Value(processesKey{}).(processes)
	if neg || len(args) != 1 || running[args[0]] == nil {
		ts.Fatalf("usage: end NAME")
	}
	cmd := running[args[0]]
	delete(running, args[0])
	ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	if err := cmd.Wait(); err != nil {
		ts.Fatalf("%s: %v\n%s", args[0], err, ts.ReadFile(args[0]+".log"))
	}
}

// scriptAwait is
//
//	await FILE REGEXP [VAR]
//
// It waits until a file matches; VAR becomes the first group of the last match.
func scriptAwait(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: await FILE REGEXP [VAR]")
	}
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	var text []byte
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		text, _ = os.ReadFile(ts.MkAbs(args[0])) // it may come yet
		all := re.FindAllSubmatch(text, -1)
		if all == nil {
			continue
		}
		if len(args) == 3 {
			ts.Setenv(args[2], string(all[len(all)-1][1]))
		}
		return
	}
	ts.Fatalf("no %q in %s:\n%s", args[1], args[0], text)
}

// scriptSocket is
//
//	socket FILE
//
// It waits for a socket that only its owner may open.
func scriptSocket(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: socket FILE")
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		info, err := os.Stat(ts.MkAbs(args[0]))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		ts.Check(err)
		if want := fs.ModeSocket | 0o600; info.Mode() != want {
			ts.Fatalf("%s has mode %s, want %s", args[0], info.Mode(), want)
		}
		return
	}
	ts.Fatalf("no %s", args[0])
}

// scriptFlip is
//
//	flip DIR
//
// It changes a bit in the middle of the largest table in a folder.
func scriptFlip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: flip DIR")
	}
	tables, err := filepath.Glob(ts.MkAbs(filepath.Join(args[0], "*.sst")))
	ts.Check(err)
	var largest string
	var most int64
	for _, path := range tables {
		info, err := os.Stat(path)
		ts.Check(err)
		if info.Size() > most {
			largest, most = path, info.Size()
		}
	}
	data, err := os.ReadFile(largest)
	ts.Check(err)
	data[len(data)/4] ^= 1
	// Another file: this one may have other names.
	ts.Check(os.Remove(largest))
	ts.Check(os.WriteFile(largest, data, 0o600))
}

// scriptExits is
//
//	exits CODE PROGRAM [ARG...]
//
// It runs a program, which has to end with that exit code.
func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG...]")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// scriptUntil is
//
//	[!] until PROGRAM [ARG...]
//
// It runs a program again and again, until it succeeds, or fails.
func scriptUntil(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 1 {
		ts.Fatalf("usage: [!] until PROGRAM [ARG...]")
	}
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = ts.Exec(args[0], args[1:]...); (err != nil) == neg {
			return
		}
	}
	ts.Fatalf("never: %v", err)
}

// scriptKeys is
//
//	keys VAR FILE
//
// It sets a variable to the one line of a file.
func scriptKeys(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: keys VAR FILE")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}

// scriptAppend is
//
//	append FILE OTHER
//
// It adds what is in another file to a file.
func scriptAppend(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: append FILE OTHER")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(ts.ReadFile(args[0])+ts.ReadFile(args[1])), 0o600))
}

// scriptPost is
//
//	post FILE URL STATUS ANSWER
//
// It sends a file, or asks with GET for "-", and keeps the answer in a file.
func scriptPost(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: post FILE URL STATUS ANSWER")
	}
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	var res *http.Response
	var err error
	if args[0] == "-" {
		res, err = client.Get(args[1])
	} else {
		res, err = client.Post(args[1], "text/plain", strings.NewReader(ts.ReadFile(args[0])))
	}
	ts.Check(err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[3]), body, 0o600))
	if strconv.Itoa(res.StatusCode) != args[2] {
		ts.Fatalf("%s, want %s: %s", res.Status, args[2], body)
	}
}

// scriptTamper is
//
//	tamper index|operations DIR
//
// It changes what a directory of the encoding variable holds behind the store's back: the newest index
// entry of each key names location 0, or operations on keys have another last byte.
func scriptTamper(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: tamper index|operations DIR")
	}
	generations, err := filepath.Glob(ts.MkAbs(filepath.Join(args[1], "gen-*")))
	ts.Check(err)
	if len(generations) != 1 {
		ts.Fatalf("%d generations in %s", len(generations), args[1])
	}
	changed := 0
	storetest.Tamper(scriptTB{ts: ts}, nil, generations[0], func(r storetest.Record) []storetest.Record {
		// docs/format.md section 3.
		switch space := r.Key[0]; {
		case args[0] == "index" && space == 4:
			changed++
			astray := bytes.Clone(r.Key)
			copy(astray[len(astray)-8:], bytes.Repeat([]byte{0xff}, 8))
			return []storetest.Record{{Key: r.Key}, {Key: astray, Value: r.Value}}
		case args[0] == "operations" && space == 2 && r.Key[len(r.Key)-1] != 0:
			changed++
			r.Value[len(r.Value)-1] ^= 1
			return []storetest.Record{r}
		}
		return nil
	})
	if changed == 0 {
		ts.Fatalf("nothing to change in %s", args[1])
	}
}

// scriptTB is what storetest needs of a test, in a script.
type scriptTB struct {
	testing.TB
	ts *testscript.TestScript
}

// Helper implements testing.TB.
func (scriptTB) Helper() {}

// Fatal implements testing.TB.
func (t scriptTB) Fatal(args ...any) { t.ts.Fatalf("%s", fmt.Sprint(args...)) }
