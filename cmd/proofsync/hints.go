package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
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
	var ca x509.UnknownAuthorityError
	var host x509.HostnameError
	_, other := errors.AsType[*remote.StatusError](err)
	switch {
	case unix && (errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)):
		return "no server or client listens there"
	case unix && errors.Is(err, fs.ErrPermission):
		return "only the user that the process runs as may open it"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "is a server or client running there, with that --http-port?"
	case errors.As(err, &record) || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "the API speaks http:// unless its process has a --tls-cert-file"
	case errors.As(err, &ca):
		return "--tls-ca-file has to be the CA of the server's certificate"
	case errors.As(err, &host):
		return "choose a --url whose host the certificate is for"
	case strings.Contains(err.Error(), "tls: certificate required"):
		return "the API wants a certificate: --tls-cert-file and --tls-key-file"
	case strings.Contains(err.Error(), "tls: bad certificate"):
		return "the API refuses our certificate: is it on its --tls-allow?"
	case other && strings.Contains(err.Error(), "HTTP request to an HTTPS server"):
		return "it speaks TLS: --url https://… and --tls-ca-file"
	case unix:
	case other, errors.Is(err, remote.ErrAnswer), errors.Is(err, context.DeadlineExceeded), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET),
		strings.Contains(err.Error(), "malformed HTTP"):
		return "is that the --http-port? It is 8081 on servers and 8082 on clients unless set"
	}
	return ""
}
