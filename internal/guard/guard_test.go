package guard

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRepeatedEventsAreLoggedOnceAnInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		n := NewLog(slog.New(slog.NewTextHandler(&out, nil)), time.Second)
		for range 100 {
			n.Warn("refused", "peer", "a")
		}
		n.Error("corrupt") // another message has its own interval
		time.Sleep(time.Second)
		n.Warn("refused", "peer", "b")
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 3 {
			t.Fatalf("%d lines, want 3:\n%s", len(lines), out.String())
		}
		if !strings.Contains(lines[2], "peer=b") || !strings.Contains(lines[2], "not_logged_before=99") {
			t.Errorf("last line does not tell what was left out: %s", lines[2])
		}
	})
}

func TestHosts(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1":             "192.0.2.1/32",
		"::ffff:192.0.2.1":      "192.0.2.1/32",
		"2001:db8:1:2:3:4:5:6":  "2001:db8:1:2::/64",
		"fe80::1":               "fe80::1/128",
		"::1":                   "::/64",
		"2001:db8:1:2:ffff::99": "2001:db8:1:2::/64",
	} {
		if got := HostOf(&net.TCPAddr{IP: net.ParseIP(addr), Zone: "eth0", Port: 1}); got.String() != want {
			t.Errorf("host of %s: %v, want %s", addr, got, want)
		}
	}
	if h := HostOf(&net.UnixAddr{}); h.IsValid() {
		t.Errorf("host of a socket without an IP address: %v", h)
	}
}
