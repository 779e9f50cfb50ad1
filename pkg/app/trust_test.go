package app

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/document"
)

func TestAClientFollowsSignedCheckpointsAndRemembersThem(t *testing.T) {
	private, public, err := checkpoint.GenerateKey("writer")
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "key")
	writeFile(t, key, private+"\n")
	server := startProcess(t, "server", "-p", "0", "-d", t.TempDir(), "-i", "100", "-t", "20ms",
		"--checkpoint-key-file", key, "--checkpoint-origin", "example.org/orders")
	dir := t.TempDir()
	args := []string{
		"-s", "127.0.0.1:" + server.port(), "-d", dir, "--follow", "--sync-interval", "1h", "--target-source", "checkpoint",
		"--checkpoint", "http://" + server.address(httpLine) + "/v1/checkpoint", "--checkpoint-origin", "example.org/orders", "--trusted-key", public,
	}
	client := startProcess(t, "client", args...)
	grown := func() uint64 {
		if h := client.state().Head; h != nil {
			return h.Size
		}
		return 0
	}
	eventually(t, "the first sync", func() bool { return grown() > 100 })
	// There is no other sync for an hour: pushed targets make it go on.
	size := grown()
	eventually(t, "more", func() bool { return grown() > size+50 })
	s := client.state()
	if x := s.Trust; x == nil || x.Source != document.TrustCheckpoint || x.Origin != "example.org/orders" || x.Quorum != 1 || len(x.Signers) != 1 || x.Stale || *x.AgeSeconds > 60 {
		t.Errorf("trust %+v", x)
	}
	if s.Sync == nil || !s.Sync.Following || len(s.Sources) != 1 || !s.Sources[0].Following {
		t.Errorf("does not say that targets are pushed: sync %+v, sources %+v", s.Sync, s.Sources)
	}
	trust := checkpoint.Trust{Origin: "example.org/orders", Quorum: 1, MaxAge: time.Hour}
	k, err := checkpoint.ParseKey(public)
	if err != nil {
		t.Fatal(err)
	}
	trust.Keys = []checkpoint.Key{k}
	trust.Codec = parseClient(t).Codec()
	code, note := client.get(httpLine, "/v1/checkpoint")
	passed, err := trust.Verify([]byte(note), time.Now())
	if code != http.StatusOK || err != nil || passed.Target.End < size {
		t.Fatalf("status %d, %v: %s", code, err, note)
	}
	client.stop()

	kept, err := os.ReadFile(filepath.Join(dir, "CHECKPOINT"))
	if err != nil {
		t.Fatal(err)
	}
	if c, err := checkpoint.Peek(kept); err != nil || c.Target.End < passed.Target.End {
		t.Errorf("remembered %q, %v", kept, err)
	}
	// The next process holds to it, and without any place to ask knows what it serves.
	client = startProcess(t, "client", append(args[:9:9], "--checkpoint", filepath.Join(t.TempDir(), "none"), "--checkpoint-origin", "example.org/orders", "--trusted-key", public)...)
	eventually(t, "the note of what is readable", func() bool {
		code, again := client.get(httpLine, "/v1/checkpoint")
		return code == http.StatusOK && again == string(kept)
	})
	client.stop()

	writeFile(t, filepath.Join(dir, "CHECKPOINT"), "garbage")
	client = startProcess(t, "client", args...)
	<-client.done
	if code := client.cmd.ProcessState.ExitCode(); code != exitFailure || client.lines("remove it to accept") != 1 || strings.Count(client.logs.String(), "ERROR") != 1 {
		t.Errorf("exit code %d", code)
	}
}
