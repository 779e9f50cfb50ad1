package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"time"
)

// maxFile bounds what is read of a file, in bytes. The roots of a whole operating
// system are a quarter of it.
const maxFile = 1 << 20

// minRSA is the least size of an RSA key in bits.
const minRSA = 2048

// keyPair is a certificate with its chain and its private key.
type keyPair struct {
	cert tls.Certificate
	leaf *x509.Certificate
}

// parsePair makes one of the files of certificate and key.
func parsePair(certPEM, keyPEM []byte, certPath, keyPath string) (*keyPair, error) {
	badCert := func(err error) error { return &FileError{"certificate", certPath, err} }
	badKey := func(err error) error { return &FileError{"key", keyPath, err} }
	chain, err := parseCertificates(certPEM)
	if err != nil {
		return nil, badCert(err)
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, badKey(err)
	}
	leaf := chain[0]
	public, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return nil, badCert(ErrKeyType)
	}
	if !public.Equal(key.Public()) {
		return nil, badKey(ErrMismatch)
	}
	p := &keyPair{cert: tls.Certificate{PrivateKey: key, Leaf: leaf}, leaf: leaf}
	for _, c := range chain {
		p.cert.Certificate = append(p.cert.Certificate, c.Raw)
	}
	return p, nil
}

// validity is ErrExpired, ErrNotYetValid or nil.
func validity(c *x509.Certificate, now time.Time) error {
	switch {
	case now.After(c.NotAfter):
		return fmt.Errorf("%w (on %s)", ErrExpired, c.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(c.NotBefore):
		return fmt.Errorf("%w (until %s; is our clock right?)", ErrNotYetValid, c.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// bundle is a set of certificates that others are verified with.
type bundle struct {
	pool  *x509.CertPool
	count int
	first *x509.Certificate // the one that expires first
}

// parseBundle makes one of a file. Expired certificates in it do no harm as long
// as there are others: that is what a rotation looks like.
func parseBundle(data []byte, path string) (*bundle, error) {
	list, err := parseCertificates(data)
	if err != nil {
		return nil, &FileError{"CA bundle", path, err}
	}
	b := &bundle{pool: x509.NewCertPool(), count: len(list)}
	for _, c := range list {
		b.pool.AddCert(c)
		if b.first == nil || c.NotAfter.Before(b.first.NotAfter) {
			b.first = c
		}
	}
	return b, nil
}

// parseCertificates reads the certificates of a file, at least one. Blocks of
// other types are left to whoever they are for.
func parseCertificates(data []byte) ([]*x509.Certificate, error) {
	var list []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of it: %w", len(list)+1, err)
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, ErrNoCertificate
	}
	return list, nil
}

// parseKey reads the first private key of a file.
func parseKey(data []byte) (crypto.Signer, error) {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil, ErrNoKey
		}
		var key any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, fmt.Errorf("%w: it has a passphrase, which there is nobody to type", ErrNoKey)
		default: // parameters, certificates
			continue
		}
		if err != nil {
			// The text of the standard library may say which function to use instead.
			what, _, _ := strings.Cut(err.Error(), ";")
			return nil, fmt.Errorf("%w: %s", ErrNoKey, what)
		}
		switch k := key.(type) {
		case *ecdsa.PrivateKey:
			return k, nil
		case ed25519.PrivateKey:
			return k, nil
		case *rsa.PrivateKey:
			if k.N.BitLen() >= minRSA {
				return k, nil
			}
		}
		return nil, ErrKeyType
	}
}
