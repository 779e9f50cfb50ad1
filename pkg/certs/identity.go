package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// maxIdentity bounds the length of an identity in bytes. It is that of SPIFFE IDs.
const maxIdentity = 2048

// spiffeScheme begins the identities of workloads that a SPIFFE authority names.
const spiffeScheme = "spiffe://"

// Identity is who the peer of a connection is, if a chain to one of our CAs was
// verified, otherwise "": its SPIFFE ID, else its first DNS name, else
// "CN=" and its common name, else "sha256:" and the digest of its public key. These
// forms cannot be taken for each other.
//
// It is a stable name for logs and for counting; decisions are the Patterns'.
func Identity(cs *tls.ConnectionState) string {
	if cs == nil || len(cs.VerifiedChains) == 0 || len(cs.VerifiedChains[0]) == 0 {
		return ""
	}
	return IdentityOf(cs.VerifiedChains[0][0])
}

// IdentityOf is Identity of a certificate, whose chain the caller has verified.
func IdentityOf(leaf *x509.Certificate) string {
	if ids := identities(leaf); len(ids) > 0 {
		return ids[0]
	}
	if cn := leaf.Subject.CommonName; cn != "" && len(cn) <= maxIdentity {
		return "CN=" + cn
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// identities are those names of a certificate that allow lists are about: its
// SPIFFE ID first, then its DNS names. A name with a wildcard stands for many
// machines and identifies none.
func identities(leaf *x509.Certificate) []string {
	var ids []string
	// A certificate with several URIs is no SPIFFE document: which one would it be?
	if len(leaf.URIs) == 1 {
		if id, err := spiffeID(leaf.URIs[0]); err == nil {
			ids = append(ids, id)
		}
	}
	for _, name := range leaf.DNSNames {
		if name = normal(name); validName(name) {
			ids = append(ids, name)
		}
	}
	return ids
}

var errSPIFFE = errors.New("not a SPIFFE ID (spiffe://domain/path expected, of letters, digits, - _ and .)")

// spiffeID is the text of a SPIFFE ID. Only one spelling of each is accepted, so
// that equal text is equal identity.
func spiffeID(u *url.URL) (string, error) {
	id := spiffeScheme + u.Host + u.Path
	if u.Scheme != "spiffe" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.RawPath != "" ||
		u.Opaque != "" || u.ForceQuery || len(id) > maxIdentity || !validDomain(u.Host) {
		return "", errSPIFFE
	}
	if u.Path == "" {
		return id, nil
	}
	for segment := range strings.SplitSeq(u.Path[1:], "/") {
		if segment == "" || segment == "." || segment == ".." || strings.Trim(segment, letters+upper+digits+"-._") != "" {
			return "", errSPIFFE
		}
	}
	return id, nil
}

const (
	letters = "abcdefghijklmnopqrstuvwxyz"
	upper   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits  = "0123456789"
)

// validDomain says whether s is a trust domain of SPIFFE.
func validDomain(s string) bool {
	return s != "" && len(s) <= 255 && strings.Trim(s, letters+digits+"-._") == ""
}

// normal is the form in which DNS names are compared.
func normal(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// validName says whether s, in normal form, is a DNS name without wildcards.
func validName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, letters+digits+"-_") != "" {
			return false
		}
	}
	return true
}

// Pattern is an entry of an allow list:
//
//	spiffe://domain/path     this SPIFFE ID
//	spiffe://domain/path/*   every SPIFFE ID below
//	db.example.org           a certificate with this DNS name
//	*.example.org            with a name of one label more
type Pattern string

// ErrPattern: the entry of an allow list is of none of these forms.
var ErrPattern = errors.New("spiffe://domain/path, spiffe://domain/*, a DNS name or *.domain expected")

// ParsePattern reads an entry of an allow list. The error is ErrPattern.
func ParsePattern(s string) (Pattern, error) {
	bad := fmt.Errorf("%.200q: %w", s, ErrPattern)
	if strings.HasPrefix(strings.ToLower(s), spiffeScheme) {
		whole := s
		if prefix, ok := strings.CutSuffix(s, "/*"); ok {
			whole = prefix
		}
		u, err := url.Parse(whole)
		if err != nil {
			return "", bad
		}
		if id, err := spiffeID(u); err != nil || id != whole {
			return "", bad
		}
		return Pattern(s), nil
	}
	name := normal(s)
	if !validName(strings.TrimPrefix(name, "*.")) {
		return "", bad
	}
	return Pattern(name), nil
}

// matches says whether the pattern allows an identity, one of identities.
func (p Pattern) matches(id string) bool {
	text := string(p)
	switch {
	case strings.HasPrefix(text, spiffeScheme):
		if prefix, ok := strings.CutSuffix(text, "*"); ok { // it ends with a slash
			return strings.HasPrefix(id, prefix)
		}
	case strings.HasPrefix(text, "*."):
		label, rest, ok := strings.Cut(id, ".")
		return ok && label != "" && rest == text[2:]
	}
	return id == text
}

// allowed is nil if one of the certificate's identities is on the list, else a
// *NotAllowedError.
func allowed(list []Pattern, leaf *x509.Certificate) error {
	ids := identities(leaf)
	for _, id := range ids {
		for _, p := range list {
			if p.matches(id) {
				return nil
			}
		}
	}
	return &NotAllowedError{Identities: ids}
}
