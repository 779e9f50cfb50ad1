package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/certs"
)

const (
	day = 24 * time.Hour
	// caLife is how long a new CA is valid: replacing one is more work than a leaf.
	caLife = 3650 * day
	// maxDays bounds the life of leaves.
	maxDays = 3650
)

// Files that a CA consists of.
const (
	caFile    = "ca.pem"
	caKeyFile = "ca-key.pem"
)

// newFile is a file that is to be made.
type newFile struct {
	name string
	data []byte
	mode fs.FileMode
}

// keysTLS are the flags of keys tls.
type keysTLS struct {
	out, caDir string
	hosts      []string
	spiffe     string
	days       int
}

func newKeysTLS() *cobra.Command {
	k := new(keysTLS)
	cmd := &cobra.Command{
		Use:   "tls [--out DIR] [--host NAME,...] [--spiffe ID] [--days N] [--ca-dir DIR]",
		Short: "make certificates for development",
		Long: `Make a CA for development, and certificates of it for a server and a client:

  ca.pem, ca-key.pem           the CA: everybody gets ca.pem, nobody needs the key but this command
  server.pem, server-key.pem   for servers
  client.pem, client-key.pem   for clients, and for their HTTP port

Keys are ECDSA P-256, and only this user may read them. No file is overwritten.
With --ca-dir the certificates are of the CA that lies there, and no CA is made.

Names are checked: --host has to list every name and address by which servers,
and clients over HTTP, are reached. The identities that --tls-allow is about are
those of --spiffe with /server and /client behind it.

A CA whose key lies in a file beside the certificates is not for production.`,
		Example: `  proofsync keys tls --out ./tls
  proofsync keys tls --out ./tls --host db.example.org,10.0.0.7,localhost --days 90
  proofsync keys tls --out ./new --ca-dir ./tls`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return k.run(cmd.OutOrStdout()) },
	}
	f := cmd.Flags()
	f.StringVar(&k.out, "out", "tls", "directory for the files; it is made if it is not there")
	f.StringSliceVar(&k.hosts, "host", []string{"localhost", "127.0.0.1", "::1"}, "DNS names and IP addresses of servers and clients")
	f.StringVar(&k.spiffe, "spiffe", "spiffe://proofsync.local", "SPIFFE ID that identities begin with")
	f.IntVar(&k.days, "days", 365, "days until the certificates expire")
	f.StringVar(&k.caDir, "ca-dir", "", "directory of the CA to use, with "+caFile+" and "+caKeyFile)
	return cmd
}

func (k *keysTLS) run(out io.Writer) error {
	if k.days < 1 || k.days > maxDays {
		return usagef("--days %d: 1 to %d expected", k.days, maxDays)
	}
	ca, files, err := k.authority()
	if err != nil {
		return err
	}
	expires := time.Now().Add(time.Duration(k.days) * day)
	if expires.After(ca.Cert.NotAfter) {
		return usagef("--days %d: the CA expires before, on %s", k.days, ca.Cert.NotAfter.UTC().Format(time.DateOnly))
	}
	for _, name := range []string{"server", "client"} {
		cert, key, err := ca.Issue(certs.Leaf{
			Name: name, Hosts: k.hosts, SPIFFE: strings.TrimSuffix(k.spiffe, "/") + "/" + name, NotAfter: expires,
			Server: true, Client: name == "client",
		})
		if err != nil {
			return &usageError{err}
		}
		files = append(files, newFile{name + ".pem", cert, 0o644}, newFile{name + "-key.pem", key, 0o600})
	}
	if err := writeNew(k.out, files); err != nil {
		return err
	}
	return k.explain(out, files, expires)
}

// authority is the CA, and the files that are to be made of it.
func (k *keysTLS) authority() (*certs.Authority, []newFile, error) {
	if k.caDir != "" {
		ca, err := certs.LoadAuthority(filepath.Join(k.caDir, caFile), filepath.Join(k.caDir, caKeyFile))
		if err != nil {
			return nil, nil, fmt.Errorf("--ca-dir: %w", err)
		}
		if same(k.caDir, k.out) {
			return ca, nil, nil
		}
		return ca, []newFile{{caFile, ca.CertPEM(), 0o644}}, nil
	}
	ca, err := certs.NewAuthority("proofsync development CA "+time.Now().UTC().Format(time.DateOnly), caLife)
	if err != nil {
		return nil, nil, err
	}
	key, err := ca.KeyPEM()
	if err != nil {
		return nil, nil, err
	}
	return ca, []newFile{{caFile, ca.CertPEM(), 0o644}, {caKeyFile, key, 0o600}}, nil
}

// same says whether two paths are one directory.
func same(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// writeNew makes files, none of which may be there yet: a key that is overwritten
// is gone. What was made is taken back if not all of them can be.
func writeNew(dir string, files []newFile) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, f := range files { // before the first is made
		if _, err := os.Lstat(filepath.Join(dir, f.name)); err == nil {
			return fmt.Errorf("%s is there already: choose another --out, or remove it if nobody needs it", filepath.Join(dir, f.name))
		}
	}
	var made []string
	defer func() {
		if err != nil {
			for _, path := range made {
				err = errors.Join(err, os.Remove(path))
			}
		}
	}()
	for _, f := range files {
		path := filepath.Join(dir, f.name)
		w, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.mode)
		if err != nil {
			return err
		}
		made = append(made, path)
		_, err = w.Write(f.data)
		if err = errors.Join(err, w.Sync(), w.Close()); err != nil {
			return err
		}
	}
	return nil
}

// explain says what was made and what to do with it.
func (k *keysTLS) explain(out io.Writer, files []newFile, expires time.Time) error {
	var names []string
	for _, f := range files {
		names = append(names, f.name)
	}
	ca := caFile
	if len(files) == 4 { // certificates beside their CA
		ca = filepath.Join(k.caDir, caFile)
	} else {
		ca = filepath.Join(k.out, ca)
	}
	at := func(name string) string { return filepath.Join(k.out, name) }
	base := strings.TrimSuffix(k.spiffe, "/")
	_, err := fmt.Fprintf(out, `made in %s: %s
for %s, until %s

  server --tls-cert-file %s --tls-key-file %s --tls-ca-file %s \
    --tls-client-auth require --tls-allow %s/client
  client --tls-cert-file %s --tls-key-file %s --tls-ca-file %s
  proofsync status --url https://%s:8081 --tls-cert-file %s --tls-key-file %s --tls-ca-file %s

Running processes take up new files by themselves.
`, k.out, strings.Join(names, ", "), strings.Join(k.hosts, ", "), expires.UTC().Format(time.DateOnly),
		at("server.pem"), at("server-key.pem"), ca, base,
		at("client.pem"), at("client-key.pem"), ca,
		urlHost(k.hosts[0]), at("client.pem"), at("client-key.pem"), ca)
	return err
}

// urlHost is a host as it stands in a URL.
func urlHost(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}
