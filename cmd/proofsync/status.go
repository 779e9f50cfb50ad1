package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/document"
)

func newStatus() *cobra.Command {
	var (
		at    access
		out   output
		check bool
	)
	cmd := &cobra.Command{
		Use:   "status (--url URL | --storage-dir DIR)",
		Short: "say how a server or client fares",
		Long: `Say what a process is and does: its state in words, the root and size that its
readers see, and of a client how far it is behind, how a sync goes on, and how
its servers fare. Of a directory that no process holds, what is in it.

With --check the exit code is 1 unless the process is ready, as its readiness
probe says.`,
		Example: `  proofsync status -u http://127.0.0.1:8082
  proofsync status -d ./replica
  proofsync status -u http://replica:8082 --check --output json | jq .lag`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return at.with(cmd, reading, func(ctx context.Context, s *session) error {
				st, err := s.Status(ctx)
				if err != nil {
					return err
				}
				if out.json {
					err = printJSON(cmd.OutOrStdout(), st)
				} else {
					err = printStatus(cmd.OutOrStdout(), st)
				}
				if err == nil && check && !st.Ready {
					err = fmt.Errorf("not ready: %s", line(st.Message))
				}
				return err
			})
		},
	}
	at.register(cmd)
	cmd.Flags().BoolVar(&check, "check", false, "exit with 1 unless the process is ready")
	out.register(cmd, "the answer as the API gives it")
	return cmd
}

func printStatus(w io.Writer, s *document.Status) error {
	p := painter(w)
	width := 0
	rows := statusRows(s, p, time.Now())
	for _, r := range rows {
		width = max(width, len(r[0]))
	}
	for _, r := range rows {
		if _, err := fmt.Fprintf(w, "%-*s  %s\n", width, r[0], r[1]); err != nil {
			return err
		}
	}
	return nil
}

// statusRows are a status for people: names and values. Colour is in the values
// only, where it does not disturb what is aligned.
func statusRows(s *document.Status, p paint, now time.Time) [][2]string {
	var rows [][2]string
	add := func(name, format string, args ...any) {
		rows = append(rows, [2]string{name, fmt.Sprintf(format, args...)})
	}
	add("state", "%s", stateOf(s, p))
	add("process", "%s %s, %s/%s", line(s.Role), line(s.Version), line(s.Family), line(s.Encoding))
	if s.Role != roleDirectory {
		add("running", "for %s", span(now.Sub(s.Started).Seconds()))
		add("ready", "%s", yes(s.Ready))
		add("writes", "%s", map[bool]string{true: "taken", false: "not taken"}[s.Writes])
	}
	if s.Epoch > 0 {
		add("epoch", "%d", s.Epoch)
	}
	if h := s.Head; h != nil {
		add("size", "%d", h.Size)
		add("root", "%s", line(h.Root))
		add("floor", "%d", h.Floor)
		add("start", "%d", h.Start)
	} else {
		add("size", "nothing is readable yet")
	}
	if t := s.Target; t != nil {
		add("target", "%d, root %s", t.End, line(t.Root))
	}
	if t := s.Trust; t != nil {
		add("trust", "%s", trustOf(t, p))
	}
	if l := s.Lag; l != nil {
		lag := fmt.Sprintf("%d operations, %s", l.Operations, span(l.Seconds))
		if l.Operations == 0 && l.Seconds == 0 {
			lag = "none"
		}
		add("lag", "%s", lag)
	} else if s.Target != nil {
		add("lag", "%s", p.wait("unknown"))
	}
	if y := s.Sync; y != nil {
		add("sync", "%s", syncOf(y, p))
		if y.LastSync != nil {
			add("in step", "%s ago", span(now.Sub(*y.LastSync).Seconds()))
		}
		if y.LastError != "" {
			add("last error", "%s", line(y.LastError))
		}
	}
	for _, x := range s.Sources {
		add("source", "%s", sourceOf(x, p))
	}
	return rows
}

// stateOf is the state in words, with what a process says beside it.
func stateOf(s *document.Status, p paint) string {
	words := strings.ReplaceAll(line(s.State), "_", " ")
	switch s.State {
	case document.StateServing, document.StateInStep:
		words = p.good(words)
	case document.StateForked, document.StateMismatch, document.StateRollback, document.StateFailed:
		words = p.bad(words)
	default:
		words = p.wait(words)
	}
	if s.Message != "" {
		words += ": " + line(s.Message)
	}
	return words
}

// trustOf is why targets are believed.
func trustOf(t *document.Trust, p paint) string {
	switch t.Source {
	case document.TrustServer:
		return "the servers' word"
	case document.TrustStatic:
		return "the one target that was given"
	case document.TrustCheckpoint:
	default:
		return line(t.Source)
	}
	text := fmt.Sprintf("checkpoints of %s, %d trusted signatures needed", line(t.Origin), t.Quorum)
	if t.Quorum == 1 {
		text = fmt.Sprintf("checkpoints of %s, one trusted signature needed", line(t.Origin))
	}
	if t.Epoch > 0 {
		text += fmt.Sprintf(", epoch %d", t.Epoch)
	}
	switch {
	case t.AgeSeconds == nil:
		return text + ", " + p.wait("none yet")
	case len(t.Signers) > 0:
		text += ", signed by " + line(strings.Join(t.Signers, ", "))
	}
	age := span(*t.AgeSeconds) + " ago"
	if t.Stale {
		age = p.bad(age + ", stale")
	}
	return text + ", " + age
}

func syncOf(y *document.Sync, p paint) string {
	parts := []string{strings.ReplaceAll(line(y.Phase), "_", " ")}
	if y.Progress > 0 && y.Progress < 1 {
		parts = append(parts, fmt.Sprintf("%.1f%%", 100*y.Progress))
	}
	parts = append(parts, fmt.Sprintf("%d stored", y.Stored))
	if y.Rate >= 1 {
		parts = append(parts, fmt.Sprintf("%.0f operations/s", y.Rate))
	}
	if y.ETASeconds != nil && *y.ETASeconds > 0 {
		parts = append(parts, span(*y.ETASeconds)+" to go")
	}
	if y.Following {
		parts = append(parts, "following")
	}
	if y.Failures > 0 {
		parts = append(parts, p.wait(fmt.Sprintf("%d failures in a row", y.Failures)))
	}
	if y.Stalled {
		parts = append(parts, p.bad("stalled"))
	}
	return strings.Join(parts, ", ")
}

func sourceOf(x document.Source, p paint) string {
	state := strings.ReplaceAll(line(x.State), "_", " ")
	switch x.State {
	case document.SourceConnected:
		state = p.good(state)
	case document.SourceCoolDown:
		state = p.bad(fmt.Sprintf("%s, %s more", state, span(x.CoolDownSeconds)))
	default:
		state = p.wait(state)
	}
	if x.Following {
		state += ", pushes"
	}
	if x.LastError != "" {
		state += ": " + line(x.LastError)
	}
	return line(x.Name) + " " + state
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// span is a time in seconds, for people.
func span(seconds float64) string {
	if math.IsNaN(seconds) || seconds < 0 {
		seconds = 0
	}
	d := time.Duration(min(seconds, 1e9) * float64(time.Second))
	switch {
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < 48*time.Hour:
		return d.Round(time.Second).String()
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
