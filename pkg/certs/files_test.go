package certs

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Every file that cannot be used is named in one line, with what is wrong.
func TestFilesThatCannotBeUsed(t *testing.T) {
	a := newCA(t, "ca")
	d := newDir(t)
	cert, key := d.issue(a, "good", Leaf{Name: "good", Hosts: []string{"localhost"}})
	_, other := d.issue(a, "other", Leaf{Name: "other"})
	ca := d.ca("ca.pem", a)

	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	agreement, err := x509.MarshalPKCS8PrivateKey(x25519)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GODEBUG", "rsa1024min=0")
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(a.Cert.PublicKey)
	if err != nil {
		t.Fatal(err)
	}

	for name, c := range map[string]struct {
		o    Options
		err  error
		line string
	}{
		"no such certificate":          {Options{CertFile: d.file("none"), KeyFile: key}, os.ErrNotExist, "certificate " + d.file("none") + ": no such file"},
		"no such key":                  {Options{CertFile: cert, KeyFile: d.file("none")}, os.ErrNotExist, "key " + d.file("none") + ": no such file"},
		"no such bundle":               {Options{CAFile: d.file("none")}, os.ErrNotExist, "CA bundle " + d.file("none") + ": no such file"},
		"a directory":                  {Options{CAFile: d.path}, nil, "is not a file"},
		"an empty bundle":              {Options{CAFile: d.put("empty", nil)}, ErrNoCertificate, "CA bundle"},
		"garbage as a bundle":          {Options{CAFile: d.put("garbage", []byte("-----BEGIN nonsense"))}, ErrNoCertificate, "CA bundle"},
		"a damaged certificate":        {Options{CAFile: d.put("damaged", block("CERTIFICATE", []byte("x")))}, nil, "certificate 1 of it"},
		"a key as a bundle":            {Options{CAFile: key}, ErrNoCertificate, "CA bundle"},
		"a bundle without end":         {Options{CAFile: d.put("large", make([]byte, maxFile+1))}, ErrTooLarge, "CA bundle"},
		"garbage as a certificate":     {Options{CertFile: d.put("garbage", []byte("x")), KeyFile: key}, ErrNoCertificate, "certificate"},
		"garbage as a key":             {Options{CertFile: cert, KeyFile: d.put("garbage-key", []byte("x"))}, ErrNoKey, "key"},
		"a damaged key":                {Options{CertFile: cert, KeyFile: d.put("damaged-key", block("PRIVATE KEY", []byte("x")))}, ErrNoKey, "key"},
		"a certificate as a key":       {Options{CertFile: cert, KeyFile: cert}, ErrNoKey, "key " + cert},
		"a public key":                 {Options{CertFile: cert, KeyFile: d.put("public", block("PUBLIC KEY", public))}, ErrNoKey, "key"},
		"a key with a passphrase":      {Options{CertFile: cert, KeyFile: d.put("locked", block("ENCRYPTED PRIVATE KEY", []byte("x")))}, ErrNoKey, "passphrase"},
		"a key of another certificate": {Options{CertFile: cert, KeyFile: other}, ErrMismatch, other + ": is not the key of the certificate"},
		"a key for key agreement":      {Options{CertFile: cert, KeyFile: d.put("agreement", block("PRIVATE KEY", agreement))}, ErrKeyType, "is of a type"},
		"a key that is too short":      {Options{CertFile: cert, KeyFile: d.put("weak", block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(weak)))}, ErrKeyType, "is of a type"},
		"a certificate without a key":  {Options{CertFile: cert}, ErrOptions, "one of them is missing"},
		"a key without a certificate":  {Options{KeyFile: key}, ErrOptions, "one of them is missing"},
		"nobody to verify clients":     {Options{CertFile: cert, KeyFile: key, ClientAuth: Require}, ErrOptions, "without a CA bundle"},
		"no certificate of our own":    {Options{CAFile: ca, ClientAuth: Request}, ErrOptions, "who has one"},
		"a list for strangers":         {Options{CertFile: cert, KeyFile: key, CAFile: ca, ClientAuth: Request, AllowClients: []Pattern{"a"}}, ErrOptions, "unless"},
		"a list without a CA":          {Options{AllowServers: []Pattern{"a"}}, ErrOptions, "without a CA"},
	} {
		_, err := Load(c.o)
		if err == nil || !strings.Contains(err.Error(), c.line) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line with %q", name, err, c.line)
		}
		if c.err != nil && !errors.Is(err, c.err) {
			t.Errorf("%s: got %v, want %v", name, err, c.err)
		}
	}
}

// An expired certificate must not keep a replica from answering from its disk.
func TestCertificatesOutOfTheirTimeAreLoadedAndSaid(t *testing.T) {
	a := newCA(t, "ca")
	d := newDir(t)
	now := time.Now()
	for name, c := range map[string]struct {
		leaf Leaf
		line string
	}{
		"expired":       {Leaf{Name: "x", NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)}, "has expired (on 2"},
		"not valid yet": {Leaf{Name: "x", NotBefore: now.Add(time.Hour), NotAfter: now.Add(2 * time.Hour)}, "is not valid yet (until 2"},
	} {
		cert, key := d.issue(a, "leaf", c.leaf)
		var l logs
		if _, err := Load(Options{CertFile: cert, KeyFile: key, Logger: l.logger()}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if l.count("level=ERROR") != 1 || l.count(c.line) != 1 {
			t.Errorf("%s: not said once:\n%s", name, l.String())
		}
	}
}

func TestAKeyThatEverybodyCanReadIsWarnedOf(t *testing.T) {
	a := newCA(t, "ca")
	d := newDir(t)
	cert, key := d.issue(a, "leaf", Leaf{Name: "x"})
	for mode, lines := range map[os.FileMode]int{0o600: 0, 0o440: 0, 0o644: 1} {
		if err := os.Chmod(key, mode); err != nil {
			t.Fatal(err)
		}
		var l logs
		if _, err := Load(Options{CertFile: cert, KeyFile: key, Logger: l.logger()}); err != nil {
			t.Fatal(err)
		}
		if l.count("can be read by every user") != lines {
			t.Errorf("mode %v: %s", mode, l.String())
		}
	}
}

// Time is not real here: a year passes.
func TestWhatSoonExpiresIsSaidOnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newCA(t, "ca")
		d := newDir(t)
		for name, c := range map[string]struct {
			life     time.Duration
			warnings int // before it expires
		}{
			"a year":     {year, 7},
			"a day":      {24 * time.Hour, 1}, // at a third
			"a few days": {6 * 24 * time.Hour, 2},
		} {
			now := time.Now()
			cert, key := d.issue(a, "leaf", Leaf{Name: "x", NotBefore: now, NotAfter: now.Add(c.life)})
			var l logs
			m := NewMetrics(nil)
			s, err := Load(Options{CertFile: cert, KeyFile: key, Logger: l.logger(), Metrics: m})
			if err != nil {
				t.Fatal(err)
			}
			if got := value(t, m.expiry.WithLabelValues("certificate")); got != float64(now.Add(c.life).Unix()) {
				t.Errorf("%s: expires at %v", name, got)
			}
			for time.Since(now) < c.life {
				time.Sleep(10 * time.Minute)
				s.remind(time.Now())
			}
			if got := l.count("expires soon"); got != c.warnings {
				t.Errorf("%s: said %d times that it expires soon, want %d", name, got, c.warnings)
			}
			time.Sleep(36 * time.Hour)
			s.remind(time.Now())
			s.remind(time.Now())
			if got := l.count("has expired"); got != 1 {
				t.Errorf("%s: said %d times that it has expired, want once", name, got)
			}
		}
	})
}
