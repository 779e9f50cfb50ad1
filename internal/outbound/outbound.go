// Package outbound makes the HTTP clients with which processes ask others for small
// answers, such as checkpoints and signatures of witnesses. Streams and large
// bodies are not what they are for.
package outbound

import (
	"context"
	"net"
	"net/http"
	"time"
)

const (
	// maxHeader bounds the header of an answer, in bytes.
	maxHeader = 64 << 10
	// handshakeTime bounds a TLS handshake, where the client does it.
	handshakeTime = 10 * time.Second
	// idleTime is how long a connection waits for another question.
	idleTime = time.Minute
)

// NewClient returns a client that follows no redirects. dialTLS makes connections to
// https addresses, handshake included; nil: as the system's CAs say. Questions are
// bounded by their contexts.
func NewClient(dialTLS func(ctx context.Context, network, addr string) (net.Conn, error)) *http.Client {
	t := &http.Transport{
		DialTLSContext: dialTLS, TLSHandshakeTimeout: handshakeTime,
		MaxIdleConnsPerHost: 2, IdleConnTimeout: idleTime,
		MaxResponseHeaderBytes: maxHeader, DisableCompression: true,
	}
	if dialTLS == nil { // behind a proxy it would not be asked
		t.Proxy, t.ForceAttemptHTTP2 = http.ProxyFromEnvironment, true
	}
	return WithoutRedirects(&http.Client{Transport: t})
}

// WithoutRedirects is a client that answers redirects as they are: who is asked is
// the operator's decision.
func WithoutRedirects(c *http.Client) *http.Client {
	own := *c
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}
