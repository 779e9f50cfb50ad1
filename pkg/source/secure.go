package source

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
)

// secure puts TLS over a connection, if it is wanted. The connection is closed if that fails.
func (p *Peer) secure(ctx context.Context, nc net.Conn) (net.Conn, error) {
	if p.tls == nil {
		return nc, nil
	}
	c := tls.Client(nc, p.tls)
	if err := c.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, explain(err)
	}
	return c, nil
}

// TLSError is a connection that did not come about because of TLS, with what can
// be done about it.
type TLSError struct {
	Hint string
	Err  error
}

func (e *TLSError) Error() string { return e.Err.Error() + " (" + e.Hint + ")" }

// Unwrap returns the error of the handshake.
func (e *TLSError) Unwrap() error { return e.Err }

// errSpeaksTLS is the answer of a server with TLS to a client without it.
var errSpeaksTLS = &TLSError{"set --tls-ca-file", errors.New("the server speaks TLS")}

// alerts of TLS 1.3 that are about us (RFC 8446 section 6), and what to do.
var alerts = map[tls.AlertError]string{
	42:  "the server refuses our certificate: are we on its --tls-allow?",
	45:  "our certificate has expired, or a clock is wrong",
	48:  "the server does not know the CA of our certificate",
	70:  "does the server speak TLS 1.3?",
	116: "the server wants a certificate: set --tls-cert-file and --tls-key-file",
	120: "is that the port of the sync protocol?",
}

// explain adds what to do to an error of TLS. Others are returned as they are.
func explain(err error) error {
	var (
		record  tls.RecordHeaderError
		remote  *net.OpError
		ca      x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	hint := ""
	switch {
	case errors.As(err, &record):
		hint = "the server does not speak TLS: remove --tls-ca-file, or give the server --tls-cert-file"
	case errors.As(err, &remote) && remote.Op == "remote error":
		// The type of alerts is not exported, but for one that says the same.
		for alert, what := range alerts {
			if remote.Err.Error() == alert.Error() {
				hint = what
			}
		}
	case errors.As(err, &ca):
		hint = "the CA of the server's certificate is not in our --tls-ca-file"
	case errors.As(err, &name):
		hint = "the server's certificate is for other names: correct --server, or choose the name with --tls-server-name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired: // or not valid yet
		hint = "the server's certificate has to be renewed, or a clock is wrong"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		hint = "no TLS handshake in time: does the server speak TLS?"
	}
	if hint == "" {
		return err
	}
	return &TLSError{hint, err}
}

// speaksTLS says whether what a server has sent begins with an alert of TLS. As a
// frame that would be a target of 21 bytes, which is too short for one.
func speaksTLS(b []byte) bool { return len(b) >= 3 && b[0] == 0x15 && b[1] == 3 && b[2] <= 4 }
