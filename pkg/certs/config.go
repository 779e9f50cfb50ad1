package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// Protocols that both ends of a connection name (ALPN), so that nobody who was
// sent to the wrong port is understood by accident.
const (
	ProtoSync = "proofsync"
	ProtoHTTP = "http/1.1"
)

// ServerConfig is how those are answered who connect to us, by the material that
// is current at each handshake. It is nil if we have no certificate: then there
// is no TLS. protocols are those of the port, and may be none.
func (s *Store) ServerConfig(protocols ...string) *tls.Config {
	if s.pair == nil {
		return nil
	}
	c := s.common(protocols)
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &s.pair.current.Load().cert, nil }
	if s.o.ClientAuth == None {
		return c
	}
	c.ClientAuth = tls.VerifyClientCertIfGiven
	if s.o.ClientAuth == Require {
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	c.VerifyConnection = s.verifyClient
	// The pool is one of the few things a configuration cannot ask for when it
	// needs it, so each handshake gets a configuration of its own.
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := c.Clone()
		now.GetConfigForClient = nil
		now.ClientCAs = s.ca.current.Load().pool
		return now, nil
	}
	c.ClientCAs = x509.NewCertPool() // without that function, nobody gets in
	return c
}

// verifyClient decides about a client whose chain is verified, if it has one.
func (s *Store) verifyClient(cs tls.ConnectionState) error {
	if len(s.o.AllowClients) == 0 {
		return nil
	}
	if len(cs.VerifiedChains) == 0 {
		return errors.New("client without a verified certificate")
	}
	return allowed(s.o.AllowClients, cs.VerifiedChains[0][0])
}

// ClientConfig is how we connect to the server of that name or address, with our
// certificate if we have one and are asked for it. It is nil if we have no CAs:
// then there is no TLS.
func (s *Store) ClientConfig(host string, protocols ...string) *tls.Config {
	if s.ca == nil {
		return nil
	}
	if s.o.ServerName != "" {
		host = s.o.ServerName
	}
	c := s.common(protocols)
	c.ServerName = host
	if s.pair != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &s.pair.current.Load().cert, nil
		}
	}
	// Nothing is skipped: a configuration that lives on cannot change its roots,
	// so verifyServer does what crypto/tls would have done, with the newest ones.
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		err := s.verifyServer(cs, host)
		if err != nil {
			s.o.Metrics.failures[reasonOf(err)].Inc()
		}
		return err
	}
	return c
}

// verifyServer decides about a server: its chain has to lead to one of our CAs,
// and its certificate has to be for the host, or for somebody on the allow list.
func (s *Store) verifyServer(cs tls.ConnectionState, host string) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("server without a certificate")
	}
	leaf, rest := cs.PeerCertificates[0], x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		rest.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: s.ca.current.Load().pool, Intermediates: rest,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err == nil && len(s.o.AllowServers) == 0 {
		err = leaf.VerifyHostname(host) // of an empty name as well: it fits no certificate
	}
	if err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
	}
	if len(s.o.AllowServers) > 0 {
		return allowed(s.o.AllowServers, leaf)
	}
	return nil
}

// common is what all configurations have.
func (s *Store) common(protocols []string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: protocols,
		// A resumed session would skip the certificates and with them every
		// check of them. Connections live long, so nothing is lost.
		SessionTicketsDisabled: true,
		// Most of what is sent is long answers. Records that begin small would
		// show a browser its first line sooner, and cost us throughput.
		DynamicRecordSizingDisabled: true,
	}
}
