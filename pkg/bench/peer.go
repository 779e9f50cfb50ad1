package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
)

// peerPatience is how long the peer may be silent. It says nothing between the
// beginning and the end of a sync, so this bounds a whole one.
const peerPatience = 15 * time.Minute

// peerSyncs are the cold syncs of the peer's client, against our server: with its
// defaults, and with what it was found to be fastest with.
func peerSyncs() []variant {
	var all []variant
	for _, c := range []struct {
		name  string
		batch int
		args  []string
	}{
		{"defaults", 50, nil},
		{"best", 100, []string{"--batch-size", "100", "--max-outstanding-requests", "16"}},
	} {
		all = append(all, variant{program: theirs, name: c.name, batch: c.batch, begin: func(ctx context.Context, s *session) (run, error) {
			program, err := peerClient(s.o.Peer)
			if err != nil {
				return nil, err
			}
			if s.o.Codec.Encoding() != operation.Fixed {
				return nil, fmt.Errorf("peer: it knows the encoding fixed, not %s", s.o.Codec.Encoding())
			}
			origin, err := s.database(ctx)
			return func(ctx context.Context) (sample, error) {
				return s.within(func(s *session) (sample, error) { return peerSync(ctx, s, origin, program, c.args) })
			}, err
		}})
	}
	return all
}

// peerClient is the program of the client: path itself, or the one in that folder.
func peerClient(path string) (string, error) {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		path = filepath.Join(path, "client")
		info, err = os.Stat(path)
	}
	if err == nil && info.Mode()&0o111 == 0 {
		err = fmt.Errorf("%s is no program", path)
	}
	if err != nil {
		return "", fmt.Errorf("peer: %w", err)
	}
	return filepath.Abs(path)
}

// peerSync runs the peer's client for one sync.
func peerSync(ctx context.Context, s *session, origin *prepared, program string, args []string) (sample, error) {
	dir, err := s.temp()
	if err != nil {
		return nil, err
	}
	server, up, err := s.start(ctx, job{Role: "server", Dir: origin.dir})
	if err != nil {
		return nil, err
	}
	ran, err := runPeer(ctx, program, append([]string{
		"--family", s.o.Codec.Family().String(), "--server", up.Addr, "--storage-dir", dir,
		"--sync-interval", "1h", // one sync is measured
	}, args...))
	if err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	look, err := server.do(step{Do: "look"})
	switch {
	case err != nil:
		return nil, err
	case ran.root != origin.root:
		return nil, fmt.Errorf("peer: it came to root %s: %s expected", ran.root, origin.root)
	case ran.seconds <= 0:
		return nil, errors.New("peer: it reported no duration")
	}
	result := s.rates(answer{Seconds: ran.seconds, CPU: ran.cpu}, origin.fetched()) // its root says that it has them all
	result[clientMemory], result[serverMemory] = float64(ran.memory), float64(look.PeakMemory)
	used, err := diskUsage(dir)
	result[diskBytes], result[diskPerOp] = float64(used), float64(used)/float64(origin.fetched())
	return result, errors.Join(err, server.end())
}

// peerRun is what became of the peer's client.
type peerRun struct {
	seconds, cpu float64
	memory       uint64
	root         mmr.Digest
}

// runPeer runs the client until its first sync is complete. Its metrics are gone
// as soon as a sync is over, so the duration is taken from the times it writes
// into its own log lines: the beginning of the sync process, and the completed
// sync.
func runPeer(ctx context.Context, program string, args []string) (ran peerRun, err error) {
	metrics, err := freePort()
	if err != nil {
		return ran, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, peerPatience, fmt.Errorf("no sync completed within %s", peerPatience))
	defer cancel()
	cmd := exec.CommandContext(ctx, program, append(args, "--metrics-port", strconv.Itoa(metrics))...)
	cmd.WaitDelay = time.Second
	stderr := &tailWriter{}
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return ran, err
	}
	if err := cmd.Start(); err != nil {
		return ran, err
	}
	ran.seconds, ran.root, err = readPeerLog(stdout)
	ran.memory = peakMemoryOf(cmd.Process.Pid)
	_ = cmd.Process.Kill() // it would run for ever
	_ = cmd.Wait()         // and so this says that it was killed
	ran.cpu = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		if text := strings.TrimSpace(stderr.String()); text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
	}
	return ran, err
}

var (
	escapes  = regexp.MustCompile("\x1b\\[[0-9;]*m")
	peerBase = regexp.MustCompile(`^(\S+) .*\bstarting .*sync process`)
	peerDone = regexp.MustCompile(`^(\S+) .*\bsync completed successfully .*\broot=([0-9a-f]{64})`)
)

// readPeerLog follows the log lines of a client until its first sync is complete.
func readPeerLog(r io.Reader) (seconds float64, root mmr.Digest, err error) {
	var began time.Time
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := escapes.ReplaceAllString(lines.Text(), "")
		if m := peerBase.FindStringSubmatch(line); m != nil && began.IsZero() {
			if began, err = time.Parse(time.RFC3339Nano, m[1]); err != nil {
				return 0, root, err
			}
		}
		m := peerDone.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if began.IsZero() {
			return 0, root, errors.New("log has the end of a sync, but not its beginning")
		}
		ended, err := time.Parse(time.RFC3339Nano, m[1])
		if err != nil {
			return 0, root, err
		}
		root, err = mmr.ParseDigest(m[2])
		return ended.Sub(began).Seconds(), root, err
	}
	if err := lines.Err(); err != nil {
		return 0, root, err
	}
	return 0, root, errors.New("it ended before a sync was complete")
}

// freePort is a port nobody listens on at the moment.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
