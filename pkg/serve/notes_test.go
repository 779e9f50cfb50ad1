package serve

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRepeatedEventsAreLoggedOnceAnInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		n := notes{log: slog.New(slog.NewTextHandler(&out, nil))}
		for range 100 {
			n.warn(noteReject, "refused", "peer", "a")
		}
		n.error(noteCorrupt, "corrupt") // another kind has its own interval
		time.Sleep(noteInterval)
		n.warn(noteReject, "refused", "peer", "b")
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 3 {
			t.Fatalf("%d lines, want 3:\n%s", len(lines), out.String())
		}
		if !strings.Contains(lines[2], "peer=b") || !strings.Contains(lines[2], "not_logged_before=99") {
			t.Errorf("last line does not tell what was left out: %s", lines[2])
		}
	})
}
