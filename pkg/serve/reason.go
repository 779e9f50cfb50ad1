package serve

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// A reason is what ended a connection. It is a log field and a metric label.
type reason uint8

const (
	byPeer reason = iota
	byShutdown
	byLengthPrefix
	byReadTimeout
	byWriteTimeout
	byIdleTimeout
	bySlowReader // others needed the memory of its replies
	byNewcomer   // idle, and another connection needed its place
	byLimit      // its requests came too fast for too long
	byHandshake  // no TLS connection came about
	byTLS        // the peer speaks TLS where there is none
	byNetwork
	numReasons
)

func (r reason) String() string {
	return [numReasons]string{
		byPeer:         "peer",
		byShutdown:     "shutdown",
		byLengthPrefix: "length_prefix",
		byReadTimeout:  "read_timeout",
		byWriteTimeout: "write_timeout",
		byIdleTimeout:  "idle_timeout",
		bySlowReader:   "slow_reader",
		byNewcomer:     "newcomer",
		byLimit:        "limit",
		byHandshake:    "tls_handshake",
		byTLS:          "tls_on_plain_port",
		byNetwork:      "network",
	}[r]
}

// An endError says why a session stopped reading or was cut off.
type endError struct {
	reason reason
	err    error
}

func (e *endError) Error() string {
	if e.err == nil {
		return e.reason.String()
	}
	return e.reason.String() + ": " + e.err.Error()
}

func (e *endError) Unwrap() error { return e.err }

// reasonOf is the reason an error carries; one from the network itself has none.
func reasonOf(err error) reason {
	var end *endError
	switch {
	case errors.As(err, &end):
		return end.reason
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe):
		return byPeer
	case errors.Is(err, context.Canceled), errors.Is(err, net.ErrClosed):
		return byShutdown
	}
	return byNetwork
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// worthRetrying tells whether accepting can work again without anyone doing
// anything about the listener: the process or the machine is short of
// something, or the newcomer gave up while it waited.
func worthRetrying(err error) bool {
	for _, errno := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EINTR, syscall.EAGAIN,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return isTimeout(err)
}
