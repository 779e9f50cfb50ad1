package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
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

// syncPeer runs the peer's client in its default configuration. Its metrics
// are gone as soon as a sync is over, so the duration is taken from the times it
// writes into its own log lines: the beginning of the sync process, and the
// completed sync.
func syncPeer(ctx context.Context, o Options, addr, data string) (run Run, err error) {
	if o.Codec.Encoding() != operation.Fixed {
		return run, fmt.Errorf("peer: it knows the encoding fixed, not %s", o.Codec.Encoding())
	}
	metrics, err := freePort()
	if err != nil {
		return run, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, peerPatience, fmt.Errorf("no sync completed within %s", peerPatience))
	defer cancel()
	cmd := exec.CommandContext(ctx, o.Peer,
		"--family", o.Codec.Family().String(), "--server", addr, "--storage-dir", data, "--metrics-port", strconv.Itoa(metrics),
		"--sync-interval", "1h") // one sync is measured
	cmd.WaitDelay = time.Second
	stderr := &tailWriter{}
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return run, err
	}
	if err := cmd.Start(); err != nil {
		return run, fmt.Errorf("peer: %w", err)
	}
	seconds, root, err := readPeerLog(stdout)
	run = Run{Seconds: seconds, Root: root, PeakBytes: peakMemoryOf(cmd.Process.Pid)}
	_ = cmd.Process.Kill() // it would run for ever
	_ = cmd.Wait()         // and so this says that it was killed
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		text := strings.TrimSpace(stderr.String())
		if text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
		return run, fmt.Errorf("peer: %w", err)
	}
	run.DiskBytes, err = diskUsage(data)
	return run, err
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
