package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// What can be wrong with a file, inside of a *FileError.
var (
	// ErrNoCertificate: there is no certificate in the file.
	ErrNoCertificate = errors.New("no certificate in it (PEM blocks of type CERTIFICATE expected)")
	// ErrNoKey: there is no private key in the file that we can read.
	ErrNoKey = errors.New("no private key in it (a PEM block of type PRIVATE KEY expected)")
	// ErrMismatch: certificate and key do not belong together.
	ErrMismatch = errors.New("is not the key of the certificate")
	// ErrKeyType: a private key of a kind that is not used for TLS.
	ErrKeyType = errors.New("is of a type that is not used here (ECDSA, Ed25519 or RSA of 2048 bits or more expected)")
	// ErrExpired: the certificate's time is over.
	ErrExpired = errors.New("has expired")
	// ErrNotYetValid: the certificate's time has not begun, or our clock is behind.
	ErrNotYetValid = errors.New("is not valid yet")
	// ErrTooLarge: nobody needs that many certificates.
	ErrTooLarge = fmt.Errorf("larger than %d bytes", maxFile)
)

// FileError says which file cannot be used, and why.
type FileError struct {
	What string // certificate, key or CA bundle
	Path string
	Err  error
}

func (e *FileError) Error() string {
	err := e.Err
	if p, ok := errors.AsType[*os.PathError](err); ok { // it has the path once more
		err = p.Err
	}
	return fmt.Sprintf("%s %s: %v", e.What, e.Path, err)
}

// Unwrap returns what is wrong.
func (e *FileError) Unwrap() error { return e.Err }

// NotAllowedError is a peer whose certificate is good, and who is not on the
// allow list.
type NotAllowedError struct {
	Identities []string // of the peer, of those that lists are about
}

func (e *NotAllowedError) Error() string {
	if len(e.Identities) == 0 {
		return "certificate has no SPIFFE URI and no DNS name, which an allow list is about"
	}
	return fmt.Sprintf("%.400q is not on the allow list (--tls-allow)", strings.Join(e.Identities, " "))
}

// A reason is why a handshake failed. It is a log field and a metric label.
type reason uint8

const (
	notTLS reason = iota
	noCertificate
	expired
	notYetValid
	unknownCA
	wrongName
	notAllowed
	badCertificate
	refusedByPeer
	timedOut
	gone
	otherReason
	numReasons
)

func (r reason) String() string {
	return [numReasons]string{
		notTLS:         "not_tls",
		noCertificate:  "no_certificate",
		expired:        "expired",
		notYetValid:    "not_yet_valid",
		unknownCA:      "unknown_ca",
		wrongName:      "wrong_name",
		notAllowed:     "not_allowed",
		badCertificate: "bad_certificate",
		refusedByPeer:  "refused_by_peer",
		timedOut:       "timeout",
		gone:           "gone",
		otherReason:    "other",
	}[r]
}

// noClientCertificate is what crypto/tls says, which has no type for it.
const noClientCertificate = "tls: client didn't provide a certificate"

// reasonOf sorts the errors of handshakes.
func reasonOf(err error) reason {
	var (
		allowed *NotAllowedError
		record  tls.RecordHeaderError
		alert   *net.OpError
		ca      x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		chain   *tls.CertificateVerificationError
		network net.Error
	)
	switch {
	case errors.As(err, &allowed):
		return notAllowed
	case errors.As(err, &ca):
		return unknownCA
	case errors.As(err, &name):
		return wrongName
	case errors.As(err, &invalid):
		if invalid.Reason != x509.Expired {
			return badCertificate
		}
		if invalid.Cert != nil && time.Now().Before(invalid.Cert.NotBefore) {
			return notYetValid
		}
		return expired
	case errors.As(err, &chain):
		return badCertificate
	case errors.As(err, &record):
		return notTLS
	case err.Error() == noClientCertificate:
		return noCertificate
	case errors.As(err, &alert) && alert.Op == "remote error": // how crypto/tls wraps alerts
		return refusedByPeer
	case errors.As(err, &network) && network.Timeout():
		return timedOut
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return gone
	}
	return otherReason
}

// hints say what an operator can do about a peer that was refused.
var hints = [numReasons]string{
	notTLS:         "the peer speaks without TLS: it has to be given the CA of this process (--tls-ca-file)",
	noCertificate:  "the peer has to be given a certificate of our CA (--tls-cert-file, --tls-key-file)",
	expired:        "the peer's certificate has to be renewed, or a clock is wrong",
	notYetValid:    "a clock is wrong, here or where the certificate was made",
	unknownCA:      "the CA of the peer's certificate is not in our --tls-ca-file",
	wrongName:      "the certificate is for other names (--tls-server-name or --tls-allow choose what is checked)",
	notAllowed:     "add the identity to --tls-allow if this peer is meant to be here",
	badCertificate: "the peer's certificate is not made for this use",
	refusedByPeer:  "the peer does not accept our certificate: does it have our CA, and this name?",
}
