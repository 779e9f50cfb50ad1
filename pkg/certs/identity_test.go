package certs

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/url"
	"strings"
	"testing"
)

func leafWith(cn string, uris []string, names ...string) *x509.Certificate {
	c := &x509.Certificate{Subject: pkix.Name{CommonName: cn}, DNSNames: names, RawSubjectPublicKeyInfo: []byte("key")}
	for _, s := range uris {
		u, err := url.Parse(s)
		if err != nil {
			panic(err)
		}
		c.URIs = append(c.URIs, u)
	}
	return c
}

func TestIdentities(t *testing.T) {
	const digest = "sha256:2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"
	for name, c := range map[string]struct {
		leaf *x509.Certificate
		want string
	}{
		"a SPIFFE ID comes first":         {leafWith("cn", []string{"spiffe://prod/ns/db"}, "a.example"), "spiffe://prod/ns/db"},
		"then a DNS name":                 {leafWith("cn", nil, "*.example", "B.Example."), "b.example"},
		"then the common name":            {leafWith("cn", nil, "*.example"), "CN=cn"},
		"then the key":                    {leafWith("", nil), digest},
		"a common name is no SPIFFE ID":   {leafWith("spiffe://prod/admin", nil), "CN=spiffe://prod/admin"},
		"a DNS name is no SPIFFE ID":      {leafWith("", nil, "spiffe://prod/admin"), digest},
		"two SPIFFE IDs are none":         {leafWith("cn", []string{"spiffe://prod/a", "spiffe://prod/b"}), "CN=cn"},
		"one beside another URI is none":  {leafWith("cn", []string{"spiffe://prod/a", "https://prod/b"}), "CN=cn"},
		"other URIs are none":             {leafWith("cn", []string{"https://prod/b"}), "CN=cn"},
		"a step up is none":               {leafWith("cn", []string{"spiffe://prod/a/../admin"}), "CN=cn"},
		"an encoded slash is none":        {leafWith("cn", []string{"spiffe://prod/a%2Fadmin"}), "CN=cn"},
		"an empty segment is none":        {leafWith("cn", []string{"spiffe://prod/a//b"}), "CN=cn"},
		"a port is none":                  {leafWith("cn", []string{"spiffe://prod:1/a"}), "CN=cn"},
		"a query is none":                 {leafWith("cn", []string{"spiffe://prod/a?b"}), "CN=cn"},
		"a user is none":                  {leafWith("cn", []string{"spiffe://u@prod/a"}), "CN=cn"},
		"an endless common name is a key": {leafWith(strings.Repeat("x", 1<<20), nil), digest},
	} {
		if got := IdentityOf(c.leaf); got != c.want {
			t.Errorf("%s: got %.100q, want %q", name, got, c.want)
		}
	}
}

func TestAllowListsMatchWholeIdentities(t *testing.T) {
	for _, c := range []struct {
		pattern, id string
		want        bool
	}{
		{"spiffe://prod/db", "spiffe://prod/db", true},
		{"spiffe://prod/db", "spiffe://prod/db2", false},
		{"spiffe://prod/db", "spiffe://prod/db/x", false},
		{"spiffe://prod/*", "spiffe://prod/db", true},
		{"spiffe://prod/*", "spiffe://prod/a/b", true},
		{"spiffe://prod/*", "spiffe://prod.evil/db", false},
		{"spiffe://prod/*", "spiffe://prod", false},
		{"spiffe://prod/ns/*", "spiffe://prod/nsx/db", false},
		{"db.example.org", "db.example.org", true},
		{"DB.example.org.", "db.example.org", true},
		{"db.example.org", "a.db.example.org", false},
		{"*.example.org", "db.example.org", true},
		{"*.example.org", "example.org", false},
		{"*.example.org", "a.b.example.org", false},
		{"*.example.org", "evilexample.org", false},
		{"*.example.org", ".example.org", false},
	} {
		p, err := ParsePattern(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.matches(c.id); got != c.want {
			t.Errorf("%s allows %s: %v, want %v", c.pattern, c.id, got, c.want)
		}
	}
	list := []Pattern{"spiffe://prod/*"}
	if err := allowed(list, leafWith("spiffe://prod/db", nil, "db")); err == nil {
		t.Error("a common name was taken for a SPIFFE ID")
	}
	if _, ok := errors.AsType[*NotAllowedError](allowed(list, leafWith("cn", nil))); !ok {
		t.Error("a certificate without names was allowed")
	}
}

func TestPatternsThatWouldNeverMatchAreErrors(t *testing.T) {
	for _, s := range []string{"", "*", "*.", "a b", "spiffe://", "spiffe:///db", "spiffe://prod/a/../b", "spiffe://prod/db*", "spiffe://*/db", "spiffe://prod/",
		"SPIFFE://prod/db", "spiffe://PROD/db", "https://prod", "a.*.org", "a/b", "**.org", strings.Repeat("a", 300)} {
		if p, err := ParsePattern(s); err == nil {
			t.Errorf("%q was taken as %q", s, p)
		} else if !errors.Is(err, ErrPattern) {
			t.Errorf("%q: %v", s, err)
		}
	}
}
