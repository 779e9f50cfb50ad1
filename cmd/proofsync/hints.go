package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"

	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/remote"
)

// explain adds to an error what its reader can do about it.
func (s *session) explain(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return err
	}
	hint := s.connectionHint(err)
	if p, ok := errors.AsType[*document.Problem](err); ok {
		hint = s.problemHint(p)
	}
	if hint == "" {
		return err
	}
	return fmt.Errorf("%w (%s)", err, hint)
}

// problemHint is about what the API refused.
func (s *session) problemHint(p *document.Problem) string {
	switch p.Code {
	case document.CodeUnauthorized:
		return "what the server has as --write-token-file is expected as --token-file"
	case document.CodeWritesDisabled:
		if s.held {
			return "only servers take writes, and over the network only with their --write-token-file"
		}
	case document.CodeEmpty:
		return "a replica before its first sync"
	case document.CodeNotBoundary, document.CodeGone, document.CodeBeyond:
		return "proofsync log --commits lists the sizes that can be read"
	case document.CodeNotText:
		return "choose --bytes base64url or hex"
	case document.CodeKeyReused:
		return "choose another --idempotency-key, or leave it out"
	}
	return ""
}

// connectionHint is about a connection that did not come about or made no sense.
func (s *session) connectionHint(err error) string {
	unix := strings.HasPrefix(s.Address(), "unix:")
	var record tls.RecordHeaderError
	_, other := errors.AsType[*remote.StatusError](err)
	switch {
	case unix && (errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)):
		return "no server or client listens there"
	case unix && errors.Is(err, fs.ErrPermission):
		return "only the user that the process runs as may open it"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "is a server or client running there, with that --http-port?"
	case errors.As(err, &record) || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "the API speaks http:// unless a proxy in front of it speaks https://"
	case unix:
	case other, errors.Is(err, remote.ErrAnswer), errors.Is(err, context.DeadlineExceeded), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET),
		strings.Contains(err.Error(), "malformed HTTP"):
		return "is that the --http-port? It is 8081 on servers and 8082 on clients unless set"
	}
	return ""
}
