package app

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/store"
)

// damage overwrites a part of every large table of a storage directory, as a bad
// disk would: index entries and operations of the log, none of which opening reads.
func damage(t *testing.T, dir string) {
	t.Helper()
	tables, err := filepath.Glob(filepath.Join(dir, "gen-*", "*.sst"))
	if err != nil {
		t.Fatal(err)
	}
	damaged := 0
	for _, path := range tables {
		info, err := os.Stat(path)
		if err != nil || info.Size() < 100<<10 {
			continue
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt(make([]byte, info.Size()/16), info.Size()/8)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		damaged++
	}
	if damaged == 0 {
		t.Fatalf("none of %d tables is large", len(tables))
	}
}

// readLog reads pages of the log until one fails, and returns how many did not.
func readLog(p *process) (read int, code int, body string) {
	for at := 0; ; at += 500 {
		if code, body = p.get(httpLine, fmt.Sprintf("/v1/operations?start=%d&limit=500", at)); code != http.StatusOK {
			return read, code, body
		}
		read++
	}
}

// history is a server's directory with a log of some tables, and the port it had.
func history(t *testing.T) (dir, port string) {
	t.Helper()
	dir = t.TempDir()
	server := startProcess(t, "server", "-p", "0", "-d", dir, "-i", "20000", "-t", "0", "--db", "immutable")
	port = server.port()
	server.stop()
	return dir, port
}

func quarantined(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "quarantine", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// notReady waits until the probe says no because of the data.
func (p *process) notReady() {
	p.t.Helper()
	eventually(p.t, "not ready, for its data", func() bool {
		code, body := p.get(metricsLine, "/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "\ndata: corrupt database: ")
	})
	if s := p.state(); s.State != document.StateDamaged || s.Ready {
		p.t.Errorf("status: %s, ready %v: %s", s.State, s.Ready, s.Message)
	}
	if _, body := p.get(metricsLine, "/metrics"); !strings.Contains(body, "\nproofsync_database_damaged 1\n") {
		p.t.Error("the metric says nothing")
	}
	const said = " stored data is damaged path="
	eventually(p.t, "a line that data is damaged", func() bool { return p.lines(said) > 0 })
	if n := p.lines(said); n != 1 {
		p.t.Errorf("%d lines say that data is damaged", n)
	}
}

func TestADamagedReplicaIsSetAsideAndFetchedAnew(t *testing.T) {
	servers, port := history(t)
	dir := t.TempDir()
	server := startProcess(t, "server", "-p", port, "-d", servers, "-t", "0", "--db", "immutable")
	root := server.state().Head.Root
	args := []string{"-s", "127.0.0.1:" + port, "-d", dir, "--db", "immutable", "-i", "50ms", "-t", "50ms", "--request-timeout", "500ms"}
	client := startProcess(t, "client", args...)
	inStep := func(what string) {
		t.Helper()
		eventually(t, what, func() bool { s := client.state(); return s.Ready && s.Head != nil && s.Head.Root == root })
	}
	inStep("in step")
	client.stop()
	server.stop()

	// Nobody to fetch from: what can be read is served, and the probe says no.
	client = startProcess(t, "client", args...)
	inStep("reopened")
	damage(t, dir)
	read, code, body := readLog(client)
	if code != http.StatusInternalServerError || !strings.Contains(body, `"code":"database"`) || read == 0 {
		t.Errorf("after %d pages: %d %s", read, code, body)
	}
	client.notReady()
	if code, body := client.get(httpLine, "/v1/operations?start=0&limit=10"); code != http.StatusOK {
		t.Errorf("what is not damaged: %d %s", code, body)
	}
	if q := quarantined(t, dir); q != nil {
		t.Errorf("set aside without a source: %q", q)
	}

	startProcess(t, "server", "-p", port, "-d", servers, "-t", "0", "--db", "immutable")
	inStep("rebuilt")
	if read, code, body := readLog(client); code != http.StatusUnprocessableEntity { // beyond the end
		t.Errorf("after the rebuild, %d pages: %d %s", read, code, body)
	}
	eventually(t, "set aside", func() bool { return len(quarantined(t, dir)) == 2 })
	q := quarantined(t, dir)
	evidence, err := os.ReadFile(q[0] + ".json")
	if err != nil || !strings.Contains(string(evidence), root) || !strings.Contains(string(evidence), ".sst") {
		t.Errorf("%q, evidence %s, %v", q, evidence, err)
	}
	if client.lines("rebuilt: the new data continues what was damaged") != 1 {
		t.Error("the new history was not compared with the lost one")
	}
	says := func(name, want string) bool {
		_, body := client.get(metricsLine, "/metrics")
		return strings.Contains(body, "\nproofsync_database_"+name+" "+want+"\n")
	}
	for name, want := range map[string]string{"damaged": "0", "quarantined_total": "1", "quarantine_held": "1"} {
		if !says(name, want) {
			t.Errorf("proofsync_database_%s is not %s", name, want)
		}
	}

	// The next one takes the place of the first.
	client.stop()
	damage(t, dir)
	client = startProcess(t, "client", args...)
	inStep("reopened")
	readLog(client)
	inStep("rebuilt again")
	eventually(t, "set aside", func() bool {
		now := quarantined(t, dir)
		return len(now) == 2 && now[0] != q[0]
	})
}

func TestAReplicaThatIsToHaltKeepsItsDamagedData(t *testing.T) {
	servers, port := history(t)
	dir := t.TempDir()
	startProcess(t, "server", "-p", port, "-d", servers, "-t", "0", "--db", "immutable")
	args := []string{"-s", "127.0.0.1:" + port, "-d", dir, "--db", "immutable", "-i", "50ms", "-t", "50ms", "--on-corruption", "halt"}
	client := startProcess(t, "client", args...)
	eventually(t, "in step", func() bool { return client.state().Ready })
	client.stop()
	client = startProcess(t, "client", args...)
	eventually(t, "in step", func() bool { return client.state().Ready })
	damage(t, dir)
	readLog(client)
	client.notReady()
	eventually(t, "halted", func() bool { s := client.state().Sync; return s != nil && s.Phase == document.StateDamaged })
	if q := quarantined(t, dir); q != nil {
		t.Errorf("set aside: %q", q)
	}
	client.stop()
}

func TestAReplicaThatIsToHaltStaysWhereItCannotOpenItsData(t *testing.T) {
	servers, port := history(t)
	dir := t.TempDir()
	startProcess(t, "server", "-p", port, "-d", servers, "-t", "0", "--db", "immutable")
	args := []string{"-s", "127.0.0.1:" + port, "-d", dir, "--db", "immutable", "-i", "50ms", "-t", "50ms", "--on-corruption", "halt"}
	client := startProcess(t, "client", args...)
	eventually(t, "in step", func() bool { return client.state().Ready })
	client.stop()
	head, err := os.ReadFile(filepath.Join(dir, "HEAD"))
	if err != nil {
		t.Fatal(err)
	}
	bad := strings.Repeat("x", len(head))
	writeFile(t, filepath.Join(dir, "HEAD"), bad)

	client = startProcess(t, "client", args...)
	client.notReady()
	eventually(t, "halted", func() bool { s := client.state().Sync; return s != nil && s.Phase == document.StateDamaged })
	if code, body := client.get(metricsLine, "/startupz"); code != http.StatusOK {
		t.Errorf("it would be restarted: %d %s", code, body)
	}
	if q := quarantined(t, dir); q != nil {
		t.Errorf("set aside: %q", q)
	}
	client.stop()
	if now, err := os.ReadFile(filepath.Join(dir, "HEAD")); err != nil || string(now) != bad {
		t.Errorf("HEAD was changed, %v", err)
	}

	// Once is a command: nobody looks at its probes.
	once := startProcess(t, "client", append(args, "--once")...)
	<-once.done
	if code := once.cmd.ProcessState.ExitCode(); code != exitFailure {
		t.Errorf("exit code %d with --once", code)
	}
}

func TestAServerRemembersDamageAcrossARestart(t *testing.T) {
	dir, port := history(t)
	args := []string{"-p", port, "-d", dir, "-t", "0", "--db", "immutable"}
	server := startProcess(t, "server", args...)
	eventually(t, "ready", func() bool { return server.state().Ready })
	damage(t, dir)
	readLog(server)
	server.notReady()
	server.stop()
	server = startProcess(t, "server", args...)
	server.notReady()
	if s := server.state(); !strings.Contains(s.Message, "proofsync fsck --repair "+dir) {
		t.Errorf("it does not say what to do: %s", s.Message)
	}
	server.stop()
	if err := store.ClearMark(nil, dir); err != nil {
		t.Fatal(err)
	}
	server = startProcess(t, "server", args...)
	eventually(t, "ready, as nobody has looked yet", func() bool { return server.state().Ready })
}

func TestADamagedServerServesWhatItCan(t *testing.T) {
	dir, port := history(t)
	server := startProcess(t, "server", "-p", port, "-d", dir, "-t", "0", "--db", "immutable")
	whole := startProcess(t, "client", "-s", server.address(syncLine), "-d", t.TempDir(), "--db", "immutable", "-i", "50ms", "-t", "50ms")
	eventually(t, "in step", func() bool { return whole.state().Ready })
	server.stop()
	server = startProcess(t, "server", "-p", port, "-d", dir, "-t", "20ms", "--db", "immutable")
	eventually(t, "ready", func() bool { return server.state().Ready })
	damage(t, dir)

	// A new replica asks for all of it over the wire, and is told that it cannot be had.
	cold := startProcess(t, "client", "-s", server.address(syncLine), "-d", t.TempDir(), "--db", "immutable", "-i", "50ms", "-t", "50ms")
	server.notReady()
	eventually(t, "an answer", func() bool { return cold.lines("the database could not be read") > 0 })
	if code, _ := cold.get(metricsLine, "/readyz"); code != http.StatusServiceUnavailable {
		t.Error("a replica of damaged data is ready")
	}
	// One that holds that part follows the newest commits.
	size := whole.state().Head.Size
	eventually(t, "the other replica follows", func() bool { return whole.state().Head.Size > size })
	if code, body := server.get(httpLine, "/v1/operations?start=0&limit=10"); code != http.StatusOK {
		t.Errorf("what is not damaged: %d %s", code, body)
	}
	select {
	case <-server.done:
		t.Error("the server has ended")
	default:
	}
}

func TestAServerDoesNotStartWithDamagedData(t *testing.T) {
	dir, port := history(t)
	head, err := os.ReadFile(filepath.Join(dir, "HEAD"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "HEAD"), strings.Repeat("x", len(head)))
	server := startProcess(t, "server", "-p", port, "-d", dir, "-t", "0", "--db", "immutable")
	<-server.done
	if code := server.cmd.ProcessState.ExitCode(); code != exitFailure {
		t.Errorf("exit code %d", code)
	}
	if n := server.lines("ERROR"); n != 1 || server.lines("proofsync fsck "+dir) != 1 {
		t.Errorf("%d lines of errors:\n%s", n, server.logs.String())
	}
}
