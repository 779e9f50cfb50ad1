package app

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/proofsync/proofsync/pkg/document"
)

// smallVolume mounts a file system of 64 MiB, or skips.
func smallVolume(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("no file system of limited size to be had here (mount: %v)", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// leave fills a volume until so many bytes are left, and returns what empties it
// again.
func leave(t *testing.T, dir string, left uint64) (remove func()) {
	t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	free := s.Bavail * uint64(s.Bsize)
	if _, err := f.Write(make([]byte, free-left)); err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

const (
	token  = "a-token-of-16-characters"
	oneKey = `{"bytes":"utf8","writes":[{"key":"abcdefghabcdefghabcdefghabcdefgh","value":"abcdefghabcdefghabcdefghabcdefgh"}]}`
	theKey = "/v1/keys/abcdefghabcdefghabcdefghabcdefgh?bytes=utf8"
)

// nearlyFull is what the probe says; files that the storage engine allocated ahead
// may go while a test looks.
var nearlyFull = regexp.MustCompile(`(?m)^disk: disk nearly full: [0-9.]+MiB free, 18MiB wanted$`)

// A server and a replica, each on a volume of its own that another program fills:
// both stop writing, go on reading, and carry on by themselves.
func TestAFullDiskPausesWritingAndNothingElse(t *testing.T) {
	volumes := []string{smallVolume(t), smallVolume(t)}
	file := filepath.Join(t.TempDir(), "token")
	writeFile(t, file, token)
	server := startProcess(t, "server", "-p", "0", "-d", filepath.Join(volumes[0], "db"), "-t", "20ms", "--write-token-file", file)
	client := startProcess(t, "client", "-s", server.address(syncLine), "-d", filepath.Join(volumes[1], "db"), "-i", "50ms", "-t", "50ms")
	both := []*process{server, client}
	if status, _, p := server.post(token, oneKey); status != http.StatusOK {
		t.Fatalf("write: %d %+v", status, p)
	}
	for _, p := range both {
		eventually(t, "ready", func() bool { code, _ := p.get(metricsLine, "/readyz"); return code == http.StatusOK })
		eventually(t, "the key", func() bool { code, _ := p.get(httpLine, theKey); return code == http.StatusOK })
	}

	// The replica first, or it would be in step with a server that writes nothing.
	empty := make([]func(), 2)
	for i := 1; i >= 0; i-- {
		p := both[i]
		empty[i] = leave(t, volumes[i], 4<<20)
		eventually(t, "not ready, for the disk", func() bool {
			code, body := p.get(metricsLine, "/readyz")
			return code == http.StatusServiceUnavailable && nearlyFull.MatchString(body)
		})
		eventually(t, "paused", func() bool { return p.state().State == document.StatePaused })
		if d := p.state().Disk; d == nil || !d.Paused || d.FloorBytes != 16<<20 {
			t.Errorf("disk: %+v", d)
		}
		if _, body := p.get(metricsLine, "/metrics"); !strings.Contains(body, "\nproofsync_disk_paused 1\n") {
			t.Error("the metric says nothing")
		}
		if code, body := p.get(httpLine, theKey); code != http.StatusOK {
			t.Errorf("read: %d %s", code, body)
		}
	}
	status, retry, problem := server.post(token, oneKey)
	if problem.Code != document.CodeDiskFull || status != http.StatusInsufficientStorage || retry == "" {
		t.Errorf("write: %d %+v", status, problem)
	}
	size := server.state().Head.Size
	if lag := client.state().Lag; lag == nil || lag.Operations == 0 {
		t.Errorf("the paused replica's lag: %+v", lag)
	}

	// Both can be started again as they are.
	server.stop()
	client.stop()
	server = startProcess(t, "server", "-p", "0", "-d", filepath.Join(volumes[0], "db"), "-t", "20ms", "--write-token-file", file)
	client = startProcess(t, "client", "-s", server.address(syncLine), "-d", filepath.Join(volumes[1], "db"), "-i", "50ms", "-t", "50ms")
	both = []*process{server, client}
	for _, p := range both {
		eventually(t, "paused", func() bool { return p.state().State == document.StatePaused })
		if code, body := p.get(httpLine, theKey); code != http.StatusOK {
			t.Errorf("read: %d %s", code, body)
		}
	}
	if got := server.state().Head.Size; got != size {
		t.Errorf("%d operations, %d before the restart", got, size)
	}

	for i, p := range both {
		empty[i]()
		eventually(t, "ready again", func() bool { code, _ := p.get(metricsLine, "/readyz"); return code == http.StatusOK })
		eventually(t, "a line that writing goes on", func() bool { return p.lines("writing goes on") > 0 })
		if n, m := p.lines("writing is paused"), p.lines("writing goes on"); n != 1 || m != 1 {
			t.Errorf("%d lines say that writing is paused, %d that it goes on", n, m)
		}
	}
	if status, _, p := server.post(token, oneKey); status != http.StatusOK {
		t.Errorf("write after the pause: %d %+v", status, p)
	}
	// Without a generator there is an end to be in step with.
	server.stop()
	server = startProcess(t, "server", "-p", server.port(), "-d", filepath.Join(volumes[0], "db"), "-t", "0")
	root := server.state().Head.Root
	eventually(t, "equal roots", func() bool { h := client.state().Head; return h != nil && h.Root == root })
	if server.state().Head.Size <= size {
		t.Error("nothing was generated after the pause")
	}
}

// port is that of the sync protocol.
func (p *process) port() string {
	addr := p.address(syncLine)
	return addr[strings.LastIndexByte(addr, ':')+1:]
}

// A process that was killed, on a volume that somebody else filled to the last
// byte: it starts, reads, and begins anew when there is space.
func TestADatabaseIsReadOnAVolumeWithoutAnySpace(t *testing.T) {
	volumes := []string{smallVolume(t), smallVolume(t)}
	file := filepath.Join(t.TempDir(), "token")
	writeFile(t, file, token)
	start := func(port string) (server, client *process) {
		server = startProcess(t, "server", "-p", port, "-d", filepath.Join(volumes[0], "db"), "-t", "20ms", "--write-token-file", file)
		client = startProcess(t, "client", "-s", server.address(syncLine), "-d", filepath.Join(volumes[1], "db"), "-i", "50ms", "-t", "50ms", "--retain", "10")
		return server, client
	}
	server, client := start("0")
	if status, _, p := server.post(token, oneKey); status != http.StatusOK {
		t.Fatalf("write: %d %+v", status, p)
	}
	eventually(t, "the key", func() bool { code, _ := client.get(httpLine, theKey); return code == http.StatusOK })
	client.kill()
	server.kill()
	empty := []func(){leave(t, volumes[0], 0), leave(t, volumes[1], 0)}
	server, client = start(server.port())
	size := server.state().Head.Size
	for _, p := range []*process{server, client} {
		eventually(t, "paused", func() bool { return p.state().State == document.StatePaused })
		if code, body := p.get(httpLine, theKey); code != http.StatusOK {
			t.Errorf("read: %d %s", code, body)
		}
		if code, body := p.get(metricsLine, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "disk: disk nearly full: 0B free") {
			t.Errorf("probe: %d %s", code, body)
		}
	}
	if _, _, problem := server.post(token, oneKey); problem.Code != document.CodeDiskFull {
		t.Errorf("write: %+v", problem)
	}
	for i, p := range []*process{server, client} {
		empty[i]()
		eventually(t, "ready again", func() bool { code, _ := p.get(metricsLine, "/readyz"); return code == http.StatusOK })
		if n := p.lines("starting anew, to write"); n != 1 {
			t.Errorf("began anew %d times", n)
		}
	}
	eventually(t, "new commits on the replica", func() bool { h := client.state().Head; return h != nil && h.Size > size })
	client.stop()
	server.stop()
}
