package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
)

// Authority is a CA for development and tests: it has its key at hand, keeps no
// list of what it signed and revokes nothing.
type Authority struct {
	Cert *x509.Certificate
	key  crypto.Signer
}

// backdated is how long before now certificates begin: clocks differ.
const backdated = time.Hour

// NewAuthority makes a CA with a new key (ECDSA P-256) that is valid from an hour ago for a time.
func NewAuthority(name string, life time.Duration) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: name},
		NotBefore: now.Add(-backdated), NotAfter: now.Add(life),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, // it signs leaves
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{Cert: cert, key: key}, nil
}

// ErrAuthority: a certificate may not sign others.
var ErrAuthority = errors.New("is not the certificate of a CA")

// LoadAuthority reads a CA from its files. Errors: *FileError.
func LoadAuthority(certFile, keyFile string) (*Authority, error) {
	w := &watched[keyPair]{
		files: []file{{"CA certificate", certFile}, {"CA key", keyFile}},
		parse: func(c [][]byte) (*keyPair, error) { return parsePair(c[0], c[1], certFile, keyFile) },
	}
	if err := w.load(); err != nil {
		return nil, err
	}
	p := w.current.Load()
	key, ok := p.cert.PrivateKey.(crypto.Signer)
	if !ok || !p.leaf.IsCA {
		return nil, &FileError{"CA certificate", certFile, ErrAuthority}
	}
	if err := validity(p.leaf, time.Now()); err != nil {
		return nil, &FileError{"CA certificate", certFile, err}
	}
	return &Authority{Cert: p.leaf, key: key}, nil
}

// CertPEM is the CA's certificate: what goes into a bundle.
func (a *Authority) CertPEM() []byte { return certPEM(a.Cert.Raw) }

// KeyPEM is the CA's private key.
func (a *Authority) KeyPEM() ([]byte, error) { return keyPEM(a.key) }

// Leaf describes a certificate to be made.
type Leaf struct {
	Name   string   // common name
	Hosts  []string // DNS names and IP addresses
	SPIFFE string   // SPIFFE ID; empty: none
	// Client and Server are what it may be used as; neither means both.
	Client, Server bool
	// NotBefore and NotAfter bound its time; zero: from an hour ago, for as long
	// as the CA lives. It is never made to outlive its CA.
	NotBefore, NotAfter time.Time
}

// Issue makes a certificate with a new key (ECDSA P-256), both in PEM.
func (a *Authority) Issue(l Leaf) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{
		Subject:   pkix.Name{CommonName: l.Name},
		NotBefore: l.NotBefore, NotAfter: l.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	if t.NotBefore.IsZero() {
		t.NotBefore = time.Now().Add(-backdated)
	}
	if t.NotAfter.IsZero() || t.NotAfter.After(a.Cert.NotAfter) {
		t.NotAfter = a.Cert.NotAfter
	}
	if l.Server || !l.Client {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if l.Client || !l.Server {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	for _, h := range l.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
			continue
		}
		if !validName(strings.TrimPrefix(normal(h), "*.")) {
			return nil, nil, fmt.Errorf("host %.200q: a DNS name or an IP address expected", h)
		}
		t.DNSNames = append(t.DNSNames, h)
	}
	if l.SPIFFE != "" {
		u, err := url.Parse(l.SPIFFE)
		if err == nil {
			_, err = spiffeID(u)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%.200q: %w", l.SPIFFE, errSPIFFE)
		}
		t.URIs = []*url.URL{u}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.Cert, private.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	if key, err = keyPEM(private); err != nil {
		return nil, nil, err
	}
	return certPEM(der), key, nil
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func keyPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
