package main

import (
	"crypto/tls"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/certs"
)

// certificates are the flags that say how https:// addresses are spoken with.
type certificates struct{ ca, cert, key string }

func (c *certificates) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.ca, "tls-ca-file", "", "certificates in PEM that an https:// API is verified with, instead of those of the system, and servers of the sync protocol, to which TLS is spoken then")
	f.StringVar(&c.cert, "tls-cert-file", "", "certificate in PEM to show to whoever asks for one")
	f.StringVar(&c.key, "tls-key-file", "", "its private key in PEM")
	fromEnvironment(cmd, "tls-ca-file", "tls-cert-file", "tls-key-file")
}

// config is how an address is spoken with; nil: with the CAs of the system and
// without a certificate. Addresses that are not https:// need none of it: the
// variables are there for services too.
func (c *certificates) config(cmd *cobra.Command, address string) (*tls.Config, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" {
		return nil, nil //nolint:nilerr // whoever uses the address says what is wrong with it
	}
	s, err := c.load(cmd, certs.Options{})
	if err != nil || s == nil {
		return nil, err
	}
	return s.ClientConfig(u.Hostname()), nil
}

// load reads the files; nil: there are no CAs, and so no TLS but the system's.
func (c *certificates) load(cmd *cobra.Command, o certs.Options) (*certs.Store, error) {
	switch {
	case (c.cert == "") != (c.key == ""):
		return nil, usagef("%s and %s belong together", origin(cmd, "tls-cert-file"), origin(cmd, "tls-key-file"))
	case c.ca == "" && c.cert == "":
		return nil, nil
	case c.ca == "":
		return nil, usagef("%s needs --tls-ca-file", origin(cmd, "tls-cert-file"))
	}
	o.CAFile, o.CertFile, o.KeyFile = c.ca, c.cert, c.key
	return certs.Load(o)
}
