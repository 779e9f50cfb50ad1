package serve

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// noteInterval is the shortest time between two log lines of one kind.
const noteInterval = 10 * time.Second

// A note is a kind of event that peers can cause as often as they like.
type note uint8

const (
	noteAccept note = iota
	noteReject
	noteUndecodable
	noteCorrupt
	noteFailure
	numNotes
)

// notes logs such events without letting them flood the log: metrics count
// all, the log gets the first of each interval and how many it left out.
type notes struct {
	log *slog.Logger

	mu      sync.Mutex
	last    [numNotes]time.Time
	skipped [numNotes]int
}

func (n *notes) warn(k note, msg string, args ...any)  { n.write(slog.LevelWarn, k, msg, args) }
func (n *notes) error(k note, msg string, args ...any) { n.write(slog.LevelError, k, msg, args) }

func (n *notes) write(level slog.Level, k note, msg string, args []any) {
	now := time.Now()
	n.mu.Lock()
	if last := n.last[k]; !last.IsZero() && now.Sub(last) < noteInterval {
		n.skipped[k]++
		n.mu.Unlock()
		return
	}
	skipped := n.skipped[k]
	n.last[k], n.skipped[k] = now, 0
	n.mu.Unlock()
	if skipped > 0 {
		args = append(args, "not_logged_before", skipped)
	}
	n.log.Log(context.Background(), level, msg, args...)
}
