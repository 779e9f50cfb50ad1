package database

import (
	"context"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/operation"
)

// Roles of the processes of TestOpeningAfterAKill, by variable: the directory
// that one of them fills or opens.
const (
	openFills = "PROOFSYNC_OPEN_FILLS"
	openOpens = "PROOFSYNC_OPEN_OPENS"
)

// PROOFSYNC_OPEN_OPS=10000000 opens a log of so many operations after kill -9 of
// the process that was committing to it: in a second, within 100 MB of memory.
// Without the variable the log is short, and the bounds are those of a loaded machine.
func TestOpeningAfterAKillTakesNoTimeAndNoMemory(t *testing.T) {
	switch {
	case os.Getenv(openFills) != "":
		fillForEver(t, os.Getenv(openFills))
		return
	case os.Getenv(openOpens) != "":
		openOnce(t, os.Getenv(openOpens))
		return
	}
	n, seconds := 100_000, 20.0
	if v := os.Getenv("PROOFSYNC_OPEN_OPS"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
		seconds = 1
	}
	dir := filepath.Join(t.TempDir(), "db")
	role := func(variable string) *exec.Cmd {
		cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), variable+"="+dir, "PROOFSYNC_OPEN_OPS="+strconv.Itoa(n))
		return cmd
	}
	writer := role(openFills)
	out, err := writer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	// It ends with this process, however that does: its standard input is closed then.
	if _, err := writer.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := writer.Start(); err != nil {
		t.Fatal(err)
	}
	// It says that it has begun to commit little by little.
	buf := make([]byte, 1<<10)
	for said := ""; !strings.Contains(said, "committing"); {
		k, err := out.Read(buf)
		if said += string(buf[:k]); err != nil {
			t.Fatalf("%s%v", said, err)
		}
	}
	time.Sleep(100 * time.Millisecond) // whatever it is at
	if err := writer.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = writer.Wait() // it was killed
	reader := role(openOpens)
	b, err := reader.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	var took, mb float64
	var size uint64
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 4 && f[0] == "opened" {
			size, _ = strconv.ParseUint(f[1], 10, 64)
			took, _ = strconv.ParseFloat(f[2], 64)
			mb, _ = strconv.ParseFloat(f[3], 64)
		}
	}
	// The processor time of all of the process tells a slow opening from a busy machine.
	cpu := reader.ProcessState.UserTime() + reader.ProcessState.SystemTime()
	t.Logf("%d operations opened after a kill in %.3f s, process of %.0f MB at its peak, %s of processor time", size, took, mb, cpu.Round(time.Millisecond))
	most := 100.0
	if raced {
		most = 300 // the detector's shadow of what is touched counts as well
	}
	if size < uint64(n) || took > seconds || mb > most || mb == 0 {
		t.Errorf("at least %d operations in %.0f s and %.0f MB expected", n, seconds, most)
	}
}

// openCodec is of the family that is filled faster; opening is the same.
var openCodec = operation.NewCodec(operation.Immutable, operation.Fixed)

// fillForEver makes a log in large batches and goes on with small commits.
func fillForEver(t *testing.T, dir string) {
	n, err := strconv.Atoi(os.Getenv("PROOFSYNC_OPEN_OPS"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until it is closed
		os.Exit(1)
	}()
	db, err := Open(dir, Options{Codec: openCodec, CreateIfMissing: true})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.NewChaCha8([32]byte{1})
	apply := func(n int) {
		ws := make([]Write, n)
		kv := make([]byte, 64*n)
		_, _ = rng.Read(kv) // never fails
		for i := range ws {
			ws[i] = Write{Key: kv[64*i : 64*i+32], Value: kv[64*i+32 : 64*i+64]}
		}
		if _, err := db.Apply(context.Background(), Batch{Writes: ws}); err != nil {
			t.Fatal(err)
		}
	}
	const batch = 200_000
	for done := 0; done < n; done += batch {
		apply(min(batch, n-done))
	}
	// A memtable's worth of log is to be replayed.
	for range 500 {
		apply(100)
	}
	os.Stdout.WriteString("committing\n")
	for {
		apply(100)
	}
}

// openOnce opens a directory, reads from it, and prints what that took.
func openOnce(t *testing.T, dir string) {
	began := time.Now()
	db, err := Open(dir, Options{Codec: openCodec})
	if err != nil {
		t.Fatal(err)
	}
	v, err := db.View()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Prove(v.Size(), v.Size()/2, v.Size()/2+1); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	os.Stdout.WriteString("opened " + strconv.FormatUint(v.Size(), 10) + " " + strconv.FormatFloat(took.Seconds(), 'f', 3, 64) + " " +
		strconv.FormatFloat(peakMemory(t)/1e6, 'f', 1, 64) + "\n")
	v.Close()
	closeDB(t, db)
}

// peakMemory is the largest resident set of this process so far, in bytes.
func peakMemory(t *testing.T) float64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("no /proc to read the memory of a process from")
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb * 1024
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
