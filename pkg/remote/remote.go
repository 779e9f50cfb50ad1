// Package remote reads, writes and watches a proofsync database through its
// HTTP API: that of a server, of a client (a verified replica), or of either
// through the unix socket in its storage directory.
//
//	Client --GET--> Status, Checkpoint, Get, List, Operations, Commits
//	       --GET, server-sent events--> Watch (resumes by itself)
//	       --POST--> Apply, Put, Delete (one idempotency key however often they are sent)
//
// Answers are the documents of pkg/document. What a server refuses is a
// *document.Problem, to be found with errors.As; its code says why:
//
//	var p *document.Problem
//	if errors.As(err, &p) && p.Code == document.CodeKeyNotFound { … }
//
// Anything else that is no answer of the API is a *StatusError, and a failed
// connection the error of package net. Every answer is bounded, see
// [Options.MaxAnswer].
//
// It believes what it is told. To check answers against a root that was learned
// elsewhere, ask for proofs and hand them to pkg/verify.
package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/proofsync/proofsync/pkg/document"
)

// Defaults of Options.
const (
	DefaultTimeout   = 30 * time.Second
	DefaultMaxAnswer = 64 << 20
	DefaultRetries   = 4
)

// Options configure a Client. The zero value is useful.
type Options struct {
	// Token is sent as the bearer token of every request. Only writes need it,
	// and those through a unix socket do not. Empty: none.
	Token string
	// Timeout bounds one request with its answer. Watch is bounded by
	// WatchOptions.Idle instead. 0: DefaultTimeout, negative: none but the context's.
	Timeout time.Duration
	// TLS is how https:// addresses are spoken with. nil: with the CAs of the
	// system, and without a certificate. It has no effect beside an HTTPClient.
	TLS *tls.Config
	// HTTPClient sends the requests. nil: one of the Client's own, which takes
	// proxies from the environment. It must be nil for unix:// addresses.
	HTTPClient *http.Client
	// UserAgent is sent with every request. Empty: "proofsync-go".
	UserAgent string
	// Bytes is how byte strings are written in requests and in the documents
	// that come back. Empty: document.Base64URL. With document.UTF8, keys and
	// values that are no text are errors.
	Bytes document.Bytes
	// MaxAnswer is the most bytes of one answer, uncompressed, and of one event.
	// 0: DefaultMaxAnswer.
	MaxAnswer int64
	// Retries is how often a batch is sent again after a failed connection or
	// an answer that asks for patience. 0: DefaultRetries, negative: never.
	Retries int
}

// Client speaks with one server. It is safe for concurrent use.
type Client struct {
	name  string   // as given to New, for messages
	base  *url.URL // without the /v1
	opts  Options
	http  *http.Client
	pause backoff // before a request is sent again
}

// ErrURL: the address is none that New understands.
var ErrURL = errors.New("http://host:port, https://host or unix:///path/to/proofsync.sock expected")

// New returns a client for the API at an address: http://host:port,
// https://host (either may have a path below which the API is found), or
// unix:///path/to/proofsync.sock. It does not connect. The error is ErrURL.
func New(address string, o Options) (*Client, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("address %.200q: %w", address, ErrURL)
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.MaxAnswer == 0 {
		o.MaxAnswer = DefaultMaxAnswer
	}
	if o.Retries == 0 {
		o.Retries = DefaultRetries
	}
	if o.UserAgent == "" {
		o.UserAgent = "proofsync-go"
	}
	if o.Bytes, err = document.ParseBytes(string(o.Bytes)); err != nil {
		return nil, err
	}
	c := &Client{name: address, base: u, opts: o, http: o.HTTPClient, pause: defaultBackoff}
	plain := u.RawQuery == "" && u.Fragment == "" && u.User == nil && u.Opaque == ""
	switch {
	case plain && u.Scheme == "unix" && u.Host == "" && filepath.IsAbs(u.Path) && u.Path != "/" && o.HTTPClient == nil:
		c.base = &url.URL{Scheme: "http", Host: "localhost"}
		t := transport(nil, func(ctx context.Context) (net.Conn, error) { return dialUnix(ctx, u.Path) })
		t.DisableCompression = true // it is slower than memory, and costs the process that answers more than the answer
		c.http = &http.Client{Transport: t}
	case plain && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
		if c.http == nil {
			t := transport(http.ProxyFromEnvironment, nil)
			t.TLSClientConfig = o.TLS
			c.http = &http.Client{Transport: t}
		}
	default:
		return nil, fmt.Errorf("address %.200q: %w", address, ErrURL)
	}
	return c, nil
}

// Address is what New was given.
func (c *Client) Address() string { return c.name }

// Close closes connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Decode reads a byte string of an answer: a key, a value or metadata.
func (c *Client) Decode(s string) ([]byte, error) { return c.opts.Bytes.Decode(s) }

// connectTime bounds how long a connection takes to come about.
const connectTime = 5 * time.Second

// transport is that of package net/http with bounds. dial replaces the network.
func transport(proxy func(*http.Request) (*url.URL, error), dial func(context.Context) (net.Conn, error)) *http.Transport {
	t := &http.Transport{
		Proxy:                  proxy,
		DialContext:            (&net.Dialer{Timeout: connectTime}).DialContext,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    connectTime,
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
	if dial != nil {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }
	}
	return t
}

// maxSocketPath is the longest path that fits in a socket's address everywhere.
const maxSocketPath = 103

// dialUnix connects to a socket. One whose path is longer than an address can
// be is reached through an open handle of its folder, where the system has
// names for those.
func dialUnix(ctx context.Context, path string) (net.Conn, error) {
	d := net.Dialer{Timeout: connectTime}
	if len(path) <= maxSocketPath {
		return d.DialContext(ctx, "unix", path)
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	return d.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), filepath.Base(path)))
}
