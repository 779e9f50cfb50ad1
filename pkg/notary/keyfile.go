package notary

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/proofsync/proofsync/pkg/checkpoint"
)

// Bounds of a key file.
const (
	maxKeyFile = 64 << 10
	maxKeys    = 16
)

// KeyFile signs with the private keys in a file, one in a line, all of them: two
// while one is being replaced by another. Empty lines and those that begin with
// # do not count. The file is looked at again and again, and a new content holds
// within about a second, also where the file is replaced, or a link to it as
// Kubernetes does. What cannot be read leaves the old keys in use.
type KeyFile struct {
	path    string
	log     *slog.Logger
	metrics *Metrics

	keys    *Keys
	info    os.FileInfo // of the file when it was read
	failing bool        // the last look did not find keys, which was logged
	renewed bool        // nothing was signed since the keys were replaced
}

// OpenKeyFile reads the keys. A nil logger discards, nil metrics count nowhere.
func OpenKeyFile(path string, log *slog.Logger, m *Metrics) (*KeyFile, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if m == nil {
		m = NewMetrics(nil)
	}
	f := &KeyFile{path: path, log: log, metrics: m}
	var err error
	if f.keys, f.info, err = readKeys(path); err != nil {
		return nil, err
	}
	if f.info.Mode().Perm()&0o007 != 0 {
		log.Warn("every user of this machine may read the key that checkpoints are signed with: chmod o= is right", "path", path)
	}
	f.say("checkpoint keys read")
	return f, nil
}

// say logs which keys sign from now on.
func (f *KeyFile) say(msg string) {
	f.metrics.keys.Set(float64(len(f.keys.Public)))
	f.log.Info(msg, "path", f.path, "trusted_keys", strings.Join(f.keys.names(), ","))
}

// Sign implements Signer.
func (f *KeyFile) Sign(_ context.Context, c checkpoint.Checkpoint) ([]byte, error) {
	f.look()
	signed, err := checkpoint.Sign(c, f.keys.Signers...)
	if err != nil {
		return nil, &Error{reasonSigner, err}
	}
	f.renewed = false
	return signed, nil
}

// Cosign adds signatures to a note that somebody else has made, which it does not
// check. Like Sign it is used by one goroutine at a time.
func (f *KeyFile) Cosign(signed []byte) ([]byte, error) {
	f.look()
	return checkpoint.Cosign(signed, f.keys.Signers...)
}

// Public are the public keys of those in use.
func (f *KeyFile) Public() []checkpoint.Key { return f.keys.Public }

// Renewed implements Signer.
func (f *KeyFile) Renewed() bool {
	f.look()
	return f.renewed
}

// look reads the file again if it has changed.
func (f *KeyFile) look() {
	info, err := os.Stat(f.path)
	if err == nil && !f.failing && os.SameFile(info, f.info) && info.ModTime().Equal(f.info.ModTime()) && info.Size() == f.info.Size() {
		return
	}
	keys, info, err := readKeys(f.path)
	if err != nil {
		if !f.failing {
			f.log.Warn("checkpoint keys not read, the old ones stay", "path", f.path, "error", err)
		}
		f.failing = true
		f.metrics.keyFailing.Set(1)
		return
	}
	changed := !keys.equal(f.keys)
	again := f.failing
	f.keys, f.info, f.failing = keys, info, false
	f.renewed = f.renewed || changed
	f.metrics.keyFailing.Set(0)
	if changed || again {
		f.say("checkpoint keys read again")
	}
}

// Keys are private keys, and the public ones that belong to them.
type Keys struct {
	Signers []checkpoint.Signer
	Public  []checkpoint.Key
}

func (k *Keys) names() []string {
	var out []string
	for _, p := range k.Public {
		out = append(out, p.String())
	}
	return out
}

func (k *Keys) equal(other *Keys) bool {
	return strings.Join(k.names(), "\n") == strings.Join(other.names(), "\n")
}

// ReadKeys reads a key file, as OpenKeyFile does, once. No error has a key in it.
func ReadKeys(path string) (*Keys, error) {
	k, _, err := readKeys(path)
	return k, err
}

func readKeys(path string) (*Keys, os.FileInfo, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is not a file", path)
	}
	b, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	if err != nil {
		return nil, nil, err
	}
	if len(b) > maxKeyFile {
		return nil, nil, fmt.Errorf("%s: more than %d bytes; private keys expected, one in a line", path, maxKeyFile)
	}
	k, err := parseKeys(b)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, info, nil
}

// parseKeys reads private keys, one in a line.
func parseKeys(b []byte) (*Keys, error) {
	k := new(Keys)
	have := make(map[string]bool)
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		signer, err := checkpoint.ParseSigner(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		public, err := checkpoint.PublicKey(line)
		switch {
		case err != nil:
			return nil, fmt.Errorf("line %d: %w", n, err)
		case have[public.String()]:
			return nil, fmt.Errorf("line %d: the key %s is there twice", n, public.Name())
		case len(k.Public) == maxKeys:
			return nil, fmt.Errorf("more than %d keys", maxKeys)
		}
		have[public.String()] = true
		k.Signers, k.Public = append(k.Signers, signer), append(k.Public, public)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(k.Public) == 0 {
		return nil, errors.New("no private key in it: proofsync keys checkpoint makes one")
	}
	return k, nil
}
