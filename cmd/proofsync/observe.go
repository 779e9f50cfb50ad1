package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// The gauges that observe reads.
const (
	sizeMetric = "proofsync_database_operations"
	rootMetric = "proofsync_database_root_prefix"
)

// maxMetrics bounds a page of metrics, in bytes.
const maxMetrics = 8 << 20

// observation is the state of one process, as its metrics tell it.
type observation struct {
	Target     string `json:"target"` // host:port
	Size       uint64 `json:"size"`
	RootPrefix uint64 `json:"root_prefix"` // first 48 bits
}

func newObserve() *cobra.Command {
	var out string
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "observe [--out FILE] HOST:PORT...",
		Short: "read size and root of running servers and clients",
		Long: `Read size and root from the metrics of running servers and clients, at every
address that a name stands for, and print them as JSON for "proofsync compare".`,
		Example: `  proofsync observe 127.0.0.1:9090 127.0.0.1:9091
  proofsync observe --wait 1m --out seen.json replica.example:9091`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("argument HOST:PORT is missing (see %s --help)", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			seen, err := observeAll(cmd.Context(), args, wait)
			if err != nil {
				return err
			}
			for _, o := range seen {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s has %d operations\n", o.Target, o.Size)
			}
			if out == "" {
				return printJSON(cmd.OutOrStdout(), seen)
			}
			data, err := json.Marshal(seen)
			if err != nil {
				return err
			}
			return os.WriteFile(out, data, 0o644)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "file to write instead of standard output")
	cmd.Flags().DurationVar(&wait, "wait", 0, "keep trying for this long while one does not answer or has no root yet")
	return cmd
}

func observeAll(ctx context.Context, targets []string, wait time.Duration) ([]observation, error) {
	deadline := time.Now().Add(wait)
	for {
		seen, err := observeOnce(ctx, targets)
		if err == nil || ctx.Err() != nil || !time.Now().Before(deadline) {
			return seen, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func observeOnce(ctx context.Context, targets []string) ([]observation, error) {
	var seen []observation
	for _, target := range targets {
		host, port, err := net.SplitHostPort(target)
		if err != nil {
			return nil, usagef("%q: host:port expected", target)
		}
		addrs, err := net.DefaultResolver.LookupHost(ctx, host)
		if err != nil {
			return nil, err
		}
		slices.Sort(addrs)
		for _, addr := range slices.Compact(addrs) {
			o, err := observe(ctx, net.JoinHostPort(addr, port))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", target, err)
			}
			seen = append(seen, o)
		}
	}
	return seen, nil
}

// observe reads one page of metrics. Size and root are of one view, so they belong together.
func observe(ctx context.Context, addr string) (o observation, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return o, err
	}
	resp, err := (&http.Client{Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return o, fmt.Errorf("%s: %s", addr, resp.Status)
	}
	values := make(map[string]uint64)
	lines := bufio.NewScanner(io.LimitReader(resp.Body, maxMetrics))
	for lines.Scan() {
		name, text, ok := strings.Cut(lines.Text(), " ")
		if !ok || name != sizeMetric && name != rootMetric {
			continue
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || v < 0 || v >= 1<<53 {
			return o, fmt.Errorf("%s: %s is %q", addr, name, text)
		}
		values[name] = uint64(v)
	}
	if err := lines.Err(); err != nil {
		return o, err
	}
	if len(values) < 2 {
		return o, fmt.Errorf("%s has no root yet", addr)
	}
	return observation{Target: addr, Size: values[sizeMetric], RootPrefix: values[rootMetric]}, nil
}
