package certs

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/proofsync/proofsync/internal/guard"
)

// DefaultInterval is the time between two looks at the files.
const DefaultInterval = 5 * time.Second

// noteInterval is the shortest time between two log lines of one kind of event
// that peers can cause.
const noteInterval = 10 * time.Second

// ClientAuth says what is asked of those who connect to us.
type ClientAuth uint8

const (
	// None: nobody is asked for a certificate.
	None ClientAuth = iota
	// Request: who sends a certificate must have it from our CAs; none is fine too.
	Request
	// Require: everybody must have a certificate of our CAs.
	Require
)

// Options say where the material is and who is let in. The zero value is a Store
// without material, which makes no configurations.
type Options struct {
	// CertFile and KeyFile hold our certificate, with the chain above it, and its
	// private key, in PEM. Both or neither.
	CertFile, KeyFile string
	// CAFile holds the certificates that peers are verified with, in PEM.
	CAFile string
	// ClientAuth is about those who connect; Request and Require need a CAFile.
	ClientAuth ClientAuth
	// AllowClients are the identities of those who may connect; nil: all whom a
	// CA has vouched for. It needs Require.
	AllowClients []Pattern
	// AllowServers are the identities of those whom we connect to. If there are
	// any, they are checked instead of the server's name.
	AllowServers []Pattern
	// ServerName is the name that servers are asked for and checked by. Empty:
	// the one that is dialed.
	ServerName string
	// Interval is the time between two looks at the files; new contents are in
	// use after two to three. 0: DefaultInterval.
	Interval time.Duration
	// Logger receives what operators should know. nil discards it.
	Logger *slog.Logger
	// Metrics counts. nil: counted nowhere.
	Metrics *Metrics
}

// ErrOptions: the options do not fit together.
var ErrOptions = errors.New("TLS options do not fit together")

// Store holds the material of one process. Its methods are safe for concurrent
// use, except for Run, which is called once.
type Store struct {
	o     Options
	notes *guard.Log
	pair  *watched[keyPair] // nil: we have no certificate
	ca    *watched[bundle]  // nil: we trust nobody

	warned map[string]time.Time // of Run: when it was last said that something expires
}

// Load reads the material, all of which has to be usable, except that a
// certificate may have expired or not be valid yet: that is logged, and peers
// will say no until a good one comes, but what needs no connection goes on.
// Errors: *FileError, ErrOptions.
func Load(o Options) (*Store, error) {
	if o.Interval <= 0 {
		o.Interval = DefaultInterval
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	switch {
	case (o.CertFile == "") != (o.KeyFile == ""):
		return nil, fmt.Errorf("%w: a certificate and its key are needed, one of them is missing", ErrOptions)
	case o.ClientAuth != None && o.CAFile == "":
		return nil, fmt.Errorf("%w: certificates of clients cannot be verified without a CA bundle", ErrOptions)
	case o.ClientAuth != None && o.CertFile == "":
		return nil, fmt.Errorf("%w: clients can be asked for certificates only by who has one", ErrOptions)
	case len(o.AllowClients) > 0 && o.ClientAuth != Require:
		return nil, fmt.Errorf("%w: a list of allowed clients means nothing unless their certificates are required", ErrOptions)
	case len(o.AllowServers) > 0 && o.CAFile == "":
		return nil, fmt.Errorf("%w: a list of allowed servers means nothing without a CA bundle", ErrOptions)
	}
	s := &Store{o: o, notes: guard.NewLog(o.Logger, noteInterval), warned: make(map[string]time.Time)}
	if o.CertFile != "" {
		s.pair = &watched[keyPair]{
			files: []file{{"certificate", o.CertFile}, {"key", o.KeyFile}},
			parse: func(c [][]byte) (*keyPair, error) { return parsePair(c[0], c[1], o.CertFile, o.KeyFile) },
			takes: func(old, next *keyPair) error {
				now := time.Now()
				if err := validity(next.leaf, now); err != nil && validity(old.leaf, now) == nil {
					return &FileError{"certificate", o.CertFile, err}
				}
				return nil
			},
		}
		if err := s.pair.load(); err != nil {
			return nil, err
		}
		s.checkMode()
	}
	if o.CAFile != "" {
		s.ca = &watched[bundle]{
			files: []file{{"CA bundle", o.CAFile}},
			parse: func(c [][]byte) (*bundle, error) { return parseBundle(c[0], o.CAFile) },
		}
		if err := s.ca.load(); err != nil {
			return nil, err
		}
	}
	s.describe("loaded")
	s.remind(time.Now())
	return s, nil
}

// checkMode warns of a key that every user of the machine can read.
func (s *Store) checkMode() {
	info, err := os.Stat(s.o.KeyFile)
	if err == nil && info.Mode().Perm()&0o004 != 0 {
		s.o.Logger.Warn("private key can be read by every user of this machine: chmod o-r", "path", s.o.KeyFile, "mode", info.Mode().Perm().String())
	}
}

// Run looks at the files until ctx ends, and takes up what is new in them. It
// returns nil.
func (s *Store) Run(ctx context.Context) error {
	if s.pair == nil && s.ca == nil {
		<-ctx.Done()
		return nil
	}
	t := time.NewTicker(s.o.Interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			s.look()
		}
	}
}

func (s *Store) look() {
	if s.pair != nil {
		if look(s, "certificate", s.pair) == changed {
			s.checkMode()
			s.describeCertificate("reloaded")
		}
	}
	if s.ca != nil {
		if look(s, "ca", s.ca) == changed {
			s.describeBundle("reloaded")
		}
	}
	s.remind(time.Now())
}

// look looks at one kind of material, and tells of what came of it.
func look[T any](s *Store, of string, w *watched[T]) outcome {
	m := s.o.Metrics
	result, err := w.look()
	switch result {
	case changed:
		m.reloads.WithLabelValues(of, "ok").Inc()
	case rejected:
		m.reloads.WithLabelValues(of, "failed").Inc()
		s.o.Logger.Error("changed TLS files cannot be used: what was loaded before stays, trying again", "of", of, "error", err, "interval", s.o.Interval)
	case recovered:
		s.o.Logger.Info("TLS files are again what is in use", "of", of)
	case unchanged:
	}
	value := 0.0
	if w.failing() {
		value = 1
	}
	m.rejected.WithLabelValues(of).Set(value)
	return result
}

func (s *Store) describe(verb string) {
	if s.pair != nil {
		s.describeCertificate(verb)
	}
	if s.ca != nil {
		s.describeBundle(verb)
	}
}

func (s *Store) describeCertificate(verb string) {
	leaf := s.pair.current.Load().leaf
	s.o.Logger.Info("TLS certificate "+verb, "identity", IdentityOf(leaf), "serial", fmt.Sprintf("%x", leaf.SerialNumber), "expires", leaf.NotAfter.UTC(), "path", s.o.CertFile)
}

func (s *Store) describeBundle(verb string) {
	b := s.ca.current.Load()
	s.o.Logger.Info("CA bundle "+verb, "certificates", b.count, "first_expires", b.first.NotAfter.UTC(), "path", s.o.CAFile)
}

const (
	remindEvery = 24 * time.Hour
	remindAtAll = 7 * 24 * time.Hour
)

// remind keeps the gauges of what expires, and says once a day what soon does:
// when a third of its life is left, or a week if that is less.
func (s *Store) remind(now time.Time) {
	if s.pair != nil {
		s.remindOf(now, "certificate", s.o.CertFile, s.pair.current.Load().leaf)
	}
	if s.ca != nil {
		s.remindOf(now, "ca", s.o.CAFile, s.ca.current.Load().first)
	}
}

func (s *Store) remindOf(now time.Time, of, path string, c *x509.Certificate) {
	s.o.Metrics.rejected.WithLabelValues(of) // 0 is worth being seen
	s.o.Metrics.expiry.WithLabelValues(of).Set(float64(c.NotAfter.Unix()))
	left := c.NotAfter.Sub(now)
	err := validity(c, now)
	if err == nil && left >= min(c.NotAfter.Sub(c.NotBefore)/3, remindAtAll) {
		delete(s.warned, of)
		return
	}
	if last, ok := s.warned[of]; ok && now.Sub(last) < remindEvery {
		return
	}
	s.warned[of] = now
	args := []any{"of", of, "expires", c.NotAfter.UTC(), "subject", c.Subject.String(), "path", path}
	if err != nil {
		s.o.Logger.Error("TLS certificate is not valid now: connections that need it fail until its file has a good one", append(args, "error", err)...)
		return
	}
	s.o.Logger.Warn("TLS certificate expires soon: renew it, and it is taken up from its file", append(args, "left", left.Round(time.Minute).String())...)
}

// Refused takes note of a peer that connected to us and with whom no handshake
// came about.
func (s *Store) Refused(peer net.Addr, err error) {
	r := reasonOf(err)
	s.o.Metrics.failures[r].Inc()
	if r == gone { // port scanners, load balancers that look whether somebody is there
		return
	}
	args := []any{"peer", peer.String(), "reason", r.String(), "error", err}
	if hints[r] != "" {
		args = append(args, "hint", hints[r])
	}
	s.notes.Warn("peer refused in the TLS handshake", args...)
}
