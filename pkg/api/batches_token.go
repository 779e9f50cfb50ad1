package api

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

// MinToken and MaxToken bound the length of a token in bytes.
const (
	MinToken = 16
	MaxToken = 4096
)

// tokenInterval is the shortest time between two looks at the file.
const tokenInterval = time.Second

// TokenFile is a bearer token that lies in a file. A new content holds within
// about a second, also where the file is replaced, or a link to it as
// Kubernetes does. Nothing watches the file; it is looked at when a token is checked.
type TokenFile struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex
	sum     [sha256.Size]byte // of the token: digests have one length and can be compared in constant time
	info    os.FileInfo       // of the file when it was read
	looked  time.Time
	failing bool // the last look did not find a token, which was logged
}

// OpenTokenFile reads a token: what is in the file without white space around
// it. Without one, or with one shorter than MinToken, it fails. A nil logger discards.
func OpenTokenFile(path string, log *slog.Logger) (*TokenFile, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	f := &TokenFile{path: path, log: log, looked: time.Now()}
	var err error
	if f.sum, f.info, err = readToken(path); err != nil {
		return nil, err
	}
	return f, nil
}

// Check says whether presented is the token. It is safe for concurrent use.
func (f *TokenFile) Check(presented string) bool {
	sum := sha256.Sum256([]byte(presented))
	want := f.current()
	return subtle.ConstantTimeCompare(sum[:], want[:]) == 1
}

// current is the digest of the token, after a look at the file if it is time.
func (f *TokenFile) current() [sha256.Size]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if now.Sub(f.looked) < tokenInterval {
		return f.sum
	}
	f.looked = now
	info, err := os.Stat(f.path)
	if err == nil && !f.failing && os.SameFile(info, f.info) && info.ModTime().Equal(f.info.ModTime()) && info.Size() == f.info.Size() {
		return f.sum
	}
	sum, info, err := readToken(f.path)
	if err != nil {
		if !f.failing {
			f.log.Warn("token file not read, the old token stays", "path", f.path, "error", err)
		}
		f.failing = true
		return f.sum
	}
	if sum != f.sum || f.failing {
		f.log.Info("token file read again", "path", f.path, "changed", sum != f.sum)
	}
	f.sum, f.info, f.failing = sum, info, false
	return f.sum
}

func readToken(path string) (sum [sha256.Size]byte, info os.FileInfo, err error) {
	file, err := os.Open(path)
	if err != nil {
		return sum, nil, err
	}
	defer file.Close()
	if info, err = file.Stat(); err != nil {
		return sum, nil, err
	}
	if !info.Mode().IsRegular() {
		return sum, nil, fmt.Errorf("%s is not a file", path)
	}
	b, err := io.ReadAll(io.LimitReader(file, MaxToken+256))
	if err != nil {
		return sum, nil, err
	}
	token := bytes.TrimSpace(b)
	switch {
	case len(token) < MinToken || len(token) > MaxToken:
		return sum, nil, fmt.Errorf("token in %s has %d bytes, %d to %d expected", path, len(token), MinToken, MaxToken)
	case bytes.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return sum, nil, errors.New("token in " + path + " has characters that no header can carry: printable ASCII without spaces expected")
	}
	return sha256.Sum256(token), info, nil
}
