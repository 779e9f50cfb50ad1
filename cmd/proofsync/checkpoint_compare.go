package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/certs"
	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/witness"
)

// exitFork is the exit code for two checkpoints that contradict each other.
const exitFork = 3

// comparing are the flags of checkpoint compare.
type comparing struct {
	trustFlags
	servers []string
	secure  certificates // towards them
	timeout time.Duration
	out     output
}

func newCheckpointCompare() *cobra.Command {
	var c comparing
	cmd := &cobra.Command{
		Use:   "compare --trusted-key KEY... [--server HOST:PORT...] NOTE OTHER",
		Short: "say whether two checkpoints are of one history",
		Long: `Check two checkpoints of one log, each like checkpoint verify does, and compare
them, in whichever order they are given.

The roots of one size are compared as they are. Of two sizes, the notes alone do
not say whether the later log begins with the earlier one: with --server, the sync
port of a server or replica that has both, that is proven, whoever it is.

Exit codes: 0 they are of one history, 1 one of them is not good, or nothing could
be proven, as of two sizes without --server, 2 for mistakes in arguments, 3 they
contradict each other: whoever has the two files can prove that the key has signed
two histories. A higher epoch may contradict a lower one: that is exit code 0, and
says so.`,
		Example: `  proofsync checkpoint compare --trusted-key "$(cat writer.pub)" accepted.note http://other:8081
  proofsync checkpoint compare --trusted-key "$(cat writer.pub)" --server 10.0.0.7:8080 yesterday.note today.note`,
		Args: exactly("NOTE", "OTHER"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, args) },
	}
	c.register(cmd)
	cmd.Flags().StringSliceVarP(&c.servers, "server", "s", nil, "where a proof may come from: host:port of the sync protocol; repeat for several")
	c.secure.register(cmd)
	cmd.Flags().DurationVar(&c.timeout, "timeout", 30*time.Second, "most time for a proof")
	c.out.register(cmd, "the verdict: same, extends, may_extend, epoch or fork, and both checkpoints")
	return cmd
}

// compared is what compare prints.
type compared struct {
	Verdict string         `json:"verdict"` // same, extends, may_extend, epoch, fork
	Says    string         `json:"says"`
	Earlier *shown         `json:"earlier"`
	Later   *shown         `json:"later"`
	Proof   *witness.Proof `json:"proof,omitempty"` // of a fork of different sizes
}

func (c *comparing) run(cmd *cobra.Command, args []string) error {
	if keys, err := c.keys(); err != nil || len(keys) == 0 {
		_, err = c.verify(nil, time.Now())
		return err
	}
	if c.timeout <= 0 {
		return usagef("--timeout %s: more than 0s expected", c.timeout)
	}
	if args[0] == "-" && args[1] == "-" {
		return usagef("standard input can be read once only")
	}
	now := time.Now()
	var both [2]*checkpoint.Signed
	for i, name := range args {
		note, err := readNote(cmd, name)
		if err != nil {
			return err
		}
		if both[i], err = c.verify(note, now); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	a, b := both[0].Checkpoint, both[1].Checkpoint
	if a.Origin != b.Origin {
		return fmt.Errorf("%s is of the log %q, %s of %q", args[0], a.Origin, args[1], b.Origin)
	}
	if a.Epoch > b.Epoch || a.Epoch == b.Epoch && a.Target.End > b.Target.End {
		a, b = b, a
	}
	v := &compared{Earlier: newShown(a, now), Later: newShown(b, now)}
	err := c.judge(cmd, v, a, b)
	if v.Verdict == "" {
		return err
	}
	if c.out.json {
		return errors.Join(printJSON(cmd.OutOrStdout(), v), err)
	}
	if err == nil {
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", v.Verdict, v.Says)
	}
	return err
}

// judge fills in the verdict. Its error is that of the command.
func (c *comparing) judge(cmd *cobra.Command, v *compared, a, b checkpoint.Checkpoint) error {
	say := func(verdict, format string, args ...any) error {
		v.Verdict, v.Says = verdict, fmt.Sprintf(format, args...)
		return nil
	}
	switch {
	case a.Epoch != b.Epoch:
		return say("epoch", "the writer has declared epoch %d after %d, so the histories need not be one", b.Epoch, a.Epoch)
	case a.Codec != b.Codec:
		return fmt.Errorf("one checkpoint is of operations of %s, the other of %s", a.Codec, b.Codec)
	case a.Target.End == b.Target.End && a.Target.Root == b.Target.Root:
		return say("same", "size %d, root %s", a.Target.End, a.Target.Root)
	case a.Target.End != b.Target.End && len(c.servers) == 0:
		_ = say("may_extend", "nothing is proven of sizes %d and %d: --server HOST:PORT, of any server or replica that has both, would prove it", a.Target.End, b.Target.End)
		return errors.New(v.Says) // not 0: scripts would take it for "one history"
	}
	err := c.prove(cmd, a, b)
	if diverged, ok := errors.AsType[*witness.DivergedError](err); ok {
		_ = say("fork", "%v", err)
		if a.Target.End != b.Target.End {
			v.Proof = &diverged.Proof
		}
		return &exitError{exitFork, fmt.Errorf("fork: %w", err)}
	}
	if err != nil {
		return err
	}
	return say("extends", "from size %d to %d, proven", a.Target.End, b.Target.End)
}

func (c *comparing) prove(cmd *cobra.Command, a, b checkpoint.Checkpoint) error {
	log, err := (&logging{format: "text", level: "error"}).logger(cmd)
	if err != nil {
		return err
	}
	secure, err := c.secure.load(cmd, certs.Options{Logger: log})
	if err != nil {
		return err
	}
	pool, err := openSources(cmd, c.servers, secure, b.Codec, log)
	if err != nil {
		return err
	}
	defer pool.Close() //nolint:errcheck // nothing is lost with its connections
	ctx, cancel := context.WithTimeout(cmd.Context(), c.timeout)
	defer cancel()
	err = witness.Extends(ctx, pool, a, b)
	if err != nil && ctx.Err() != nil && cmd.Context().Err() == nil {
		return fmt.Errorf("no proof within %s: %w", c.timeout, err)
	}
	return err
}
