package certs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestANewCertificateIsServedWithoutARestart(t *testing.T) {
	w := newWorld(t)
	var l logs
	w.server.Logger = l.logger()
	s := serve(t, load(t, w.server))
	cfg := load(t, w.client).ClientConfig(loopback, "test")
	_, before, err := connect(s, cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.issue(w.ca, "server", Leaf{Name: "server", Hosts: []string{loopback}})
	eventually(t, "the new certificate", func() bool {
		_, serial, err := connect(s, cfg)
		if err != nil {
			t.Fatalf("connections failed in between: %v", err)
		}
		return serial != before
	})
	if value(t, w.server.Metrics.reloads.WithLabelValues("certificate", "ok")) != 1 || l.count("TLS certificate reloaded") != 1 {
		t.Errorf("not said once:\n%s", l.String())
	}
}

func TestAClientShowsItsNewCertificateWithoutARestart(t *testing.T) {
	w := newWorld(t)
	s := serve(t, load(t, w.server))
	cfg := load(t, w.client).ClientConfig(loopback, "test")
	w.issue(w.ca, "client", Leaf{Name: "client", SPIFFE: "spiffe://test/renamed"})
	eventually(t, "the new certificate", func() bool {
		said, _, err := connect(s, cfg)
		if err != nil {
			t.Fatal(err)
		}
		return said == "hello <spiffe://test/renamed>"
	})
}

// A CA is replaced while both sides talk to each other all the time: first both
// CAs are trusted, then leaves change, then the old CA goes.
func TestACAIsReplacedWithAnOverlap(t *testing.T) {
	w := newWorld(t)
	s := serve(t, load(t, w.server))
	cfg := load(t, w.client).ClientConfig(loopback, "test")
	old, next := w.ca, newCA(t, "next")
	oldCert, oldKey, err := old.Issue(Leaf{SPIFFE: "spiffe://test/old"})
	if err != nil {
		t.Fatal(err)
	}
	oldClient := load(t, Options{CAFile: w.dir.ca("both.pem", old, next), CertFile: w.put("old.pem", oldCert), KeyFile: w.put("old-key.pem", oldKey)}).ClientConfig(loopback, "test")

	works := func() (said, serial string) {
		t.Helper()
		said, serial, err := connect(s, cfg)
		if err != nil {
			t.Fatalf("connections failed in between: %v", err)
		}
		return said, serial
	}
	_, first := works()
	w.dir.ca("ca.pem", old, next)
	for m, of := range map[*Metrics]string{w.server.Metrics: "ca", w.client.Metrics: "ca"} {
		eventually(t, "both CAs", func() bool { works(); return value(t, m.reloads.WithLabelValues(of, "ok")) == 1 })
	}
	w.issue(next, "server", Leaf{Hosts: []string{loopback}})
	w.issue(next, "client", Leaf{SPIFFE: "spiffe://test/next"})
	eventually(t, "the new leaves", func() bool {
		said, serial := works()
		return serial != first && said == "hello <spiffe://test/next>"
	})
	if _, _, err := connect(s, oldClient); err != nil {
		t.Fatalf("the old CA is still trusted: %v", err)
	}
	w.dir.ca("ca.pem", next)
	eventually(t, "the end of the old CA", func() bool {
		works()
		_, _, err := connect(s, oldClient)
		return err != nil && strings.Contains(err.Error(), "unknown certificate authority")
	})
}

// Kubernetes keeps the files of a secret in a directory that a link points to,
// and replaces that link. The files themselves are links through it.
func TestASecretIsSwappedByItsLink(t *testing.T) {
	w := newWorld(t)
	mount := func(version string, l Leaf) {
		t.Helper()
		cert, key, err := w.ca.Issue(l)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(w.file(version), 0o700); err != nil {
			t.Fatal(err)
		}
		w.put(filepath.Join(version, "tls.crt"), cert)
		w.put(filepath.Join(version, "tls.key"), key)
		w.put(filepath.Join(version, "ca.crt"), w.ca.CertPEM())
		if err := os.Symlink(version, w.file("..data_tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(w.file("..data_tmp"), w.file("..data")); err != nil {
			t.Fatal(err)
		}
	}
	mount("..1", Leaf{Hosts: []string{loopback}})
	for _, name := range []string{"tls.crt", "tls.key", "ca.crt"} {
		if err := os.Symlink(filepath.Join("..data", name), w.file(name)); err != nil {
			t.Fatal(err)
		}
	}
	w.server.CertFile, w.server.KeyFile, w.server.CAFile = w.file("tls.crt"), w.file("tls.key"), w.file("ca.crt")
	s := serve(t, load(t, w.server))
	cfg := load(t, w.client).ClientConfig(loopback, "test")
	_, before, err := connect(s, cfg)
	if err != nil {
		t.Fatal(err)
	}
	mount("..2", Leaf{Hosts: []string{loopback}})
	if err := os.RemoveAll(w.file("..1")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new secret", func() bool {
		_, serial, err := connect(s, cfg)
		if err != nil {
			t.Fatalf("connections failed in between: %v", err)
		}
		return serial != before
	})
	if n := value(t, w.server.Metrics.reloads.WithLabelValues("certificate", "failed")); n != 0 {
		t.Errorf("%v failures of a swap", n)
	}
}

// Whatever is wrong with new files, the old ones stay in use, that is said once,
// and good files are taken up when they come.
func TestARotationThatFailsKeepsWhatThereWas(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		of    string
		spoil func(w *world)
		line  string
	}{
		"key does not fit":   {"certificate", func(w *world) { _, key, _ := w.ca.Issue(Leaf{}); w.put("server-key.pem", key) }, "is not the key of the certificate"},
		"key is gone":        {"certificate", func(w *world) { os.Remove(w.file("server-key.pem")) }, "no such file"},
		"certificate is cut": {"certificate", func(w *world) { w.put("server.pem", w.ca.CertPEM()[:100]) }, "no certificate in it"},
		"certificate expired": {"certificate", func(w *world) {
			w.issue(w.ca, "server", Leaf{NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)})
		}, "has expired"},
		"certificate too new": {"certificate", func(w *world) { w.issue(w.ca, "server", Leaf{NotBefore: now.Add(time.Hour)}) }, "is not valid yet"},
		"key unreadable":      {"certificate", func(w *world) { os.Remove(w.file("server-key.pem")); os.Mkdir(w.file("server-key.pem"), 0o700) }, "is not a file"},
		"bundle is empty":     {"ca", func(w *world) { w.put("ca.pem", nil) }, "no certificate in it"},
		"bundle is garbage":   {"ca", func(w *world) { w.put("ca.pem", []byte("<html>")) }, "no certificate in it"},
		"bundle is gone":      {"ca", func(w *world) { os.Remove(w.file("ca.pem")) }, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var l logs
			m := w.server.Metrics
			w.server.Logger = l.logger()
			s := serve(t, load(t, w.server))
			client := w.client
			client.CAFile = w.dir.ca("client-ca.pem", w.ca)
			cfg := load(t, client).ClientConfig(loopback, "test")
			_, before, err := connect(s, cfg)
			if err != nil {
				t.Fatal(err)
			}
			c.spoil(w)
			eventually(t, "the rejection", func() bool { return value(t, m.rejected.WithLabelValues(c.of)) == 1 })
			time.Sleep(20 * time.Millisecond) // some more looks
			if _, serial, err := connect(s, cfg); err != nil || serial != before {
				t.Errorf("got %v, %v", serial, err)
			}
			if n := value(t, m.reloads.WithLabelValues(c.of, "failed")); n != 1 || l.count("cannot be used") != 1 || l.count(c.line) != 1 {
				t.Errorf("%v failures, log:\n%s", n, l.String())
			}
			os.Remove(w.file("server-key.pem")) // if it is a directory
			w.issue(w.ca, "server", Leaf{Hosts: []string{loopback}})
			w.dir.ca("ca.pem", w.ca)
			eventually(t, "the good files", func() bool {
				_, serial, err := connect(s, cfg)
				return err == nil && serial != before && value(t, m.rejected.WithLabelValues(c.of)) == 0
			})
		})
	}
}

// A certificate is often written a moment before its key.
func TestFilesThatAreBeingWrittenAreLeftAlone(t *testing.T) {
	w := newWorld(t)
	o := w.server
	s, err := Load(o)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := w.ca.Issue(Leaf{})
	if err != nil {
		t.Fatal(err)
	}
	before := s.pair.current.Load()
	w.put("server.pem", cert)
	s.look()
	w.put("server-key.pem", key)
	s.look()
	if s.pair.current.Load() != before {
		t.Error("taken up before it was seen twice")
	}
	s.look()
	if s.pair.current.Load() == before {
		t.Error("not taken up")
	}
	if n := value(t, o.Metrics.reloads.WithLabelValues("certificate", "failed")); n != 0 {
		t.Errorf("%v failures", n)
	}
}

func TestFilesThatComeBackAreNoChange(t *testing.T) {
	w := newWorld(t)
	var l logs
	w.server.Logger = l.logger()
	s, err := Load(w.server)
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(w.file("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	w.put("ca.pem", nil)
	s.look()
	s.look()
	w.put("ca.pem", good)
	s.look()
	s.look()
	s.look()
	m := w.server.Metrics
	if l.count("TLS files are again what is in use") != 1 || value(t, m.rejected.WithLabelValues("ca")) != 0 || value(t, m.reloads.WithLabelValues("ca", "ok")) != 0 {
		t.Errorf("log:\n%s", l.String())
	}
}
