// Package guard is what listeners need against peers they do not know: whom
// to count them as, and log lines that they cannot flood the log with. What is
// counted and which bounds there are is the listeners' own.
package guard

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Host is whom a peer is counted as: one IPv4 address, or the network of 64
// bits that whoever has one IPv6 address usually has all of. It is the zero
// prefix for a peer without an IP address, whom nobody counts.
func Host(peer netip.AddrPort) netip.Prefix {
	ip := peer.Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() && !ip.IsLinkLocalUnicast() { // all neighbours share that one
		bits = 64
	}
	h, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return h
}

// HostOf is Host of the address of a connection.
func HostOf(peer net.Addr) netip.Prefix {
	tcp, ok := peer.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	return Host(tcp.AddrPort())
}

// Log logs what peers can cause as often as they like: the first of each
// interval of every message, and how many were left out since. Messages are
// constants of the program, so that there are few.
type Log struct {
	log      *slog.Logger
	interval time.Duration

	mu   sync.Mutex
	said map[string]said
}

// said is what became of a message.
type said struct {
	last    time.Time
	skipped int
}

// NewLog returns a Log to l.
func NewLog(l *slog.Logger, interval time.Duration) *Log {
	return &Log{log: l, interval: interval, said: make(map[string]said)}
}

// Warn logs a warning.
func (l *Log) Warn(msg string, args ...any) { l.write(slog.LevelWarn, msg, args) }

// Error logs an error.
func (l *Log) Error(msg string, args ...any) { l.write(slog.LevelError, msg, args) }

func (l *Log) write(level slog.Level, msg string, args []any) {
	now := time.Now()
	l.mu.Lock()
	s, known := l.said[msg]
	if known && now.Sub(s.last) < l.interval {
		s.skipped++
		l.said[msg] = s
		l.mu.Unlock()
		return
	}
	l.said[msg] = said{last: now}
	l.mu.Unlock()
	if s.skipped > 0 {
		args = append(args, "not_logged_before", s.skipped)
	}
	l.log.Log(context.Background(), level, msg, args...)
}
