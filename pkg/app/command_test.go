package app

import (
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"server": func() { os.Exit(ServerMain(os.Args[1:], OS())) },
		"client": func() { os.Exit(ClientMain(os.Args[1:], OS())) },
	})
}

// patience bounds every wait of a script; only a failing test waits for it.
const patience = 20 * time.Second

// The scripts run the commands as users do: arguments, environment, signals,
// exit codes. Besides testscript's own commands they have:
//
//	exits CODE PROGRAM [ARG...]   runs to the end; stdout and stderr can be matched afterwards
//	start NAME PROGRAM [ARG...]   runs in the background, standard error in NAME.log, standard input from NAME.in
//	await NAME REGEXP [VAR]       until NAME.log matches; VAR becomes the first group of the last match
//	signal NAME SIGNAL CODE       sends TERM, INT or KILL and expects the exit code (-1: killed by it)
//	probe URL STATUS [REGEXP]     until GET answers like that
func TestCommands(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                filepath.Join("testdata", "script"),
		RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Values[processesKey{}] = make(processes)
			e.Setenv("TMPDIR", filepath.Join(e.WorkDir, "tmp"))
			return os.MkdirAll(filepath.Join(e.WorkDir, "tmp"), 0o777)
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return os.Geteuid() == 0, nil
			case "mounts": // in a namespace of one's own
				return exec.Command("unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", os.TempDir()).Run() == nil, nil
			}
			return false, errors.New("unknown condition " + cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": scriptExits, "start": scriptStart, "await": scriptAwait, "signal": scriptSignal, "probe": scriptProbe,
		},
	})
}

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
	if want := number(ts, args[0]); code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

// processes are the background processes of a script, by name.
type processes map[string]*exec.Cmd

// processesKey is where a script keeps them.
type processesKey struct{}

func running(ts *testscript.TestScript) processes { return ts.Value(processesKey{}).(processes) }

func scriptStart(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start NAME PROGRAM [ARG...]")
	}
	log, err := os.Create(ts.MkAbs(args[0] + ".log"))
	ts.Check(err)
	defer log.Close()
	var path string
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if _, err := os.Stat(filepath.Join(dir, args[1])); err == nil {
			path = filepath.Join(dir, args[1])
			break
		}
	}
	if path == "" {
		ts.Fatalf("no program %s", args[1])
	}
	cmd := exec.Command(path, args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = []string{"PATH=" + ts.Getenv("PATH"), "TMPDIR=" + ts.Getenv("TMPDIR"), "GOCOVERDIR=" + os.Getenv("GOCOVERDIR")}
	cmd.Stderr = log
	if in, err := os.Open(ts.MkAbs(args[0] + ".in")); err == nil {
		defer in.Close()
		cmd.Stdin = in
	}
	ts.Check(cmd.Start())
	running(ts)[args[0]] = cmd
	ts.Defer(func() {
		if running(ts)[args[0]] == cmd {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
}

func scriptAwait(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: await NAME REGEXP [VAR]")
	}
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	var text string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		text = ts.ReadFile(args[0] + ".log")
		all := re.FindAllStringSubmatch(text, -1)
		if all == nil {
			continue
		}
		if len(args) == 3 {
			ts.Setenv(args[2], all[len(all)-1][1])
		}
		return
	}
	ts.Fatalf("no %q in %s:\n%s", args[1], args[0], text)
}

func scriptSignal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL}
	if neg || len(args) != 3 || signals[args[1]] == nil {
		ts.Fatalf("usage: signal NAME TERM|INT|KILL CODE")
	}
	cmd := running(ts)[args[0]]
	if cmd == nil {
		ts.Fatalf("%s is not running", args[0])
	}
	delete(running(ts), args[0])
	ts.Check(cmd.Process.Signal(signals[args[1]]))
	kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != number(ts, args[2]) {
		ts.Fatalf("%s: %v, want exit code %s:\n%s", args[0], cmd.ProcessState, args[2], ts.ReadFile(args[0]+".log"))
	}
}

func scriptProbe(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: probe URL STATUS [REGEXP]")
	}
	re := regexp.MustCompile("")
	if len(args) == 3 {
		re = regexp.MustCompile("(?m)" + args[2])
	}
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	var last string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		res, err := client.Get(args[0])
		if err != nil {
			last = err.Error()
			continue
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err == nil && res.StatusCode == number(ts, args[1]) && re.Match(body) {
			return
		}
		last = res.Status + "\n" + string(body)
	}
	ts.Fatalf("GET %s: %s", args[0], last)
}

func number(ts *testscript.TestScript, s string) int {
	n, err := strconv.Atoi(s)
	ts.Check(err)
	return n
}
