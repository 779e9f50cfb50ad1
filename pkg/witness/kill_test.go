package witness

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/source"
)

// Variables of the process that is killed.
const (
	childState  = "WITNESS_TEST_STATE"
	childKey    = "WITNESS_TEST_KEY"
	childTrusts = "WITNESS_TEST_TRUSTS"
	childFirst  = "WITNESS_TEST_FIRST"
)

// child is a witness that says where it listens.
func child(path string) {
	fatal := func(err error) {
		if err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
	}
	signer, err := checkpoint.ParseSigner(os.Getenv(childKey))
	fatal(err)
	trusted, err := checkpoint.ParseKey(os.Getenv(childTrusts))
	fatal(err)
	own, err := checkpoint.PublicKey(os.Getenv(childKey))
	fatal(err)
	state, err := OpenState(path)
	fatal(err)
	w, err := New(Options{
		Origin: logName, Keys: []checkpoint.Key{trusted}, Own: []checkpoint.Key{own}, State: state,
		First:  []byte(os.Getenv(childFirst)),
		Cosign: func(note []byte) ([]byte, error) { return checkpoint.Cosign(note, signer) },
		Source: source.NewPeer("127.0.0.1:1", source.PeerOptions{Codec: anyFixed}),
	})
	fatal(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(err)
	fmt.Println(l.Addr())
	fatal(NewServer(w.Handler(prometheus.NewRegistry()), slog.New(slog.DiscardHandler)).Serve(l))
}

// TestAKilledWitnessNeverSignsTwoRootsOfOneSize kills a real process while two
// contradicting checkpoints are before it, starts it again, and offers both.
func TestAKilledWitnessNeverSignsTwoRootsOfOneSize(t *testing.T) {
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	writer, self := newParty(t, "writer"), newParty(t, "witness")
	h := newHistory(t, writer)
	first := h.note()
	both := [2][]byte{
		h.note(func(c *checkpoint.Checkpoint) { c.Epoch = 1 }),
		h.note(func(c *checkpoint.Checkpoint) { c.Epoch = 1; c.Target.Root[0] ^= 1 }),
	}
	trust := checkpoint.Trust{Origin: logName, Codec: anyFixed, Keys: []checkpoint.Key{self.key}, Quorum: 1}
	signed, survived := 0, 0
	for round := range rounds {
		path := t.TempDir() + "/state"
		start := func() (addr string, kill func()) {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), childState+"="+path, childKey+"="+self.private, childTrusts+"="+writer.key.String(), childFirst+"="+string(first))
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, _ := bufio.NewReader(out).ReadString('\n')
			if addr = strings.TrimSpace(line); addr == "" || strings.HasPrefix(addr, "error") {
				t.Fatalf("not started: %q", line)
			}
			return addr, func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
		}
		got := make(chan string, 4) // roots that were signed
		ask := func(addr string, note []byte) {
			client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
			req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+addr+"/v1/cosign", strings.NewReader(string(note)))
			if err != nil {
				t.Error(err)
				return
			}
			res, err := client.Do(req)
			if err != nil {
				return // killed
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != http.StatusOK {
				return
			}
			if s, err := trust.Verify(body, time.Now()); err == nil {
				got <- s.Target.Root.String()
			}
		}
		addr, kill := start()
		done := make(chan struct{}, 2)
		for _, note := range both {
			go func() { ask(addr, note); done <- struct{}{} }()
		}
		time.Sleep(time.Duration(round) * 700 * time.Microsecond)
		kill()
		<-done
		<-done
		if _, err := os.Stat(path); err == nil {
			survived++
		}
		addr, kill = start()
		ask(addr, both[round%2])
		ask(addr, both[1-round%2])
		kill()
		close(got)
		roots := make(map[string]bool)
		for root := range got {
			roots[root] = true
			signed++
		}
		if len(roots) != 1 {
			t.Fatalf("round %d: signed %d roots of one size", round, len(roots))
		}
	}
	t.Logf("%d signatures; %d of %d kills came after something was stored", signed, survived, rounds)
}
