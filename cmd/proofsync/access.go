package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/importer"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/remote"
	"github.com/proofsync/proofsync/pkg/store"
	"github.com/proofsync/proofsync/pkg/telemetry"
)

// socketName is the file of a storage directory through which the process that
// holds it offers its API.
const socketName = "proofsync.sock"

// maxToken bounds what is read of a token's file.
const maxToken = 64 << 10

// access are the flags that say where a database is and how to get there.
type access struct {
	address, dir, tokenFile string
	secure                  certificates
	timeout                 time.Duration
	form                    string // of byte strings; empty: nobody chose one
}

func (a *access) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&a.address, "url", "u", "", "HTTP API of a server or client: http(s)://host:port or unix:///path/to/"+socketName)
	storageFlag(cmd, &a.dir)
	f.Lookup("storage-dir").Usage = "storage directory of the database; if a process holds it, that one is asked [" + variable("storage-dir") + "]"
	f.StringVar(&a.tokenFile, "token-file", "", "file with the bearer token to send; what goes through the socket of a directory needs none")
	a.secure.register(cmd)
	f.DurationVar(&a.timeout, "timeout", remote.DefaultTimeout, "most time for one request and its answer")
	f.Var(&choice{&a.form, []string{"base64url", "hex", "utf8"}}, "bytes", "how keys and values are printed: base64url, hex or utf8 (tables: text where there is some, otherwise hex; JSON: base64url)")
	complete(cmd, "bytes", "base64url", "hex", "utf8")
	fromEnvironment(cmd, "url", "token-file")
}

// choice is a flag with few values.
type choice struct {
	value   *string
	allowed []string
}

func (c *choice) String() string {
	if c.value == nil {
		return ""
	}
	return *c.value
}

// Set implements pflag.Value.
func (c *choice) Set(s string) error {
	if !slices.Contains(c.allowed, s) {
		return fmt.Errorf("%s expected", strings.Join(c.allowed, ", "))
	}
	*c.value = s
	return nil
}

// Type implements pflag.Value.
func (c *choice) Type() string { return "form" }

// session is a database that can be asked. Whatever is asked goes through the
// HTTP API: over the network, through the socket of the process that holds the
// directory, or within this process over a directory that nobody holds.
type session struct {
	*remote.Client
	where string           // address or directory, for messages
	held  bool             // somebody runs there
	form  string           // of byte strings in tables; empty: text or hexadecimal
	stop  func() error     // gives the directory free
	codec *operation.Codec // once known
}

// mode is what a command wants with the database.
type mode int

const (
	reading  mode = iota
	writing       // needs a directory that nobody holds for itself
	watching      // is about what a process does: a directory alone does not change
)

// with opens the database, calls fn, and explains its errors.
func (a *access) with(cmd *cobra.Command, m mode, fn func(context.Context, *session) error) (err error) {
	s, err := a.open(cmd, m)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	return s.explain(fn(cmd.Context(), s))
}

// open finds out where the database is. A flag wins over variables, and of
// these the address, which only this tool reads, wins over the directory.
func (a *access) open(cmd *cobra.Command, m mode) (*session, error) {
	address, dir := cmd.Flags().Changed("url"), cmd.Flags().Changed("storage-dir")
	switch {
	case address && dir:
		return nil, usagef("--url and --storage-dir exclude each other")
	case a.timeout <= 0:
		return nil, usagef("--timeout %s: more than 0s expected", a.timeout)
	case a.address != "" && !dir:
		return a.connect(cmd, a.address, false)
	case a.dir != "":
		return a.openDirectory(cmd, m)
	}
	return nil, usagef("where is the database? --url or --storage-dir expected, or %s or %s", variable("url"), variable("storage-dir"))
}

func (a *access) options() remote.Options {
	return remote.Options{
		Timeout: a.timeout, Bytes: document.Bytes(a.form), UserAgent: "proofsync/" + telemetry.Build().Version,
	}
}

// connect asks a process. local says that it is reached through its directory.
func (a *access) connect(cmd *cobra.Command, address string, local bool) (*session, error) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	o := a.options()
	if a.tokenFile != "" && !local {
		token, err := readToken(a.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", origin(cmd, "token-file"), err)
		}
		o.Token = token
	}
	var err error
	if o.TLS, err = a.secure.config(cmd, address); err != nil {
		return nil, err
	}
	c, err := remote.New(address, o)
	if err != nil {
		return nil, usagef("%s: %w", origin(cmd, "url"), err)
	}
	return &session{Client: c, where: address, held: true, form: a.form, stop: func() error { c.Close(); return nil }}, nil
}

// lockPatience is how long a directory may be held by somebody who does not
// answer: by another command, which is soon done, or a process that is starting.
const lockPatience = 2 * time.Second

// openDirectory takes a directory, or asks who has it.
func (a *access) openDirectory(cmd *cobra.Command, m mode) (s *session, err error) {
	holder, err := a.orHolder(cmd, func() (err error) {
		s, err = a.inProcess(m)
		return err
	})
	if holder != nil {
		return holder, nil
	}
	return s, err
}

// orHolder calls direct, which opens the directory for this process, or finds
// who has it. The session is nil if direct did it.
func (a *access) orHolder(cmd *cobra.Command, direct func() error) (*session, error) {
	for end := time.Now().Add(lockPatience); ; {
		err := direct()
		locked, ok := errors.AsType[*store.LockedError](err)
		if !ok {
			return nil, err
		}
		s, err := a.askHolder(cmd)
		if s != nil || err != nil {
			return s, err
		}
		if !time.Now().Before(end) {
			return nil, fmt.Errorf("%w, which does not answer on its %s", locked, socketName)
		}
		select {
		case <-cmd.Context().Done():
			return nil, cmd.Context().Err()
		case <-time.After(lockPatience / 50):
		}
	}
}

// askHolder asks the process that holds the directory; nil: none answers. A
// process that was killed leaves its socket behind.
func (a *access) askHolder(cmd *cobra.Command) (*session, error) {
	path, err := filepath.Abs(filepath.Join(a.dir, socketName))
	if err != nil {
		return nil, err
	}
	s, err := a.connect(cmd, (&url.URL{Scheme: "unix", Path: path}).String(), true)
	if err != nil {
		return nil, err
	}
	s.where = a.dir
	if _, err = s.database(cmd.Context()); err == nil {
		return s, nil
	}
	err = errors.Join(s.explain(err), s.stop())
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return nil, err
}

// readToken reads a file with a token and nothing else.
func readToken(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(b))
	if token == "" || len(b) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%s: one token in one line expected", path)
	}
	return token, nil
}

// database is the family and encoding of what is asked.
func (s *session) database(ctx context.Context) (operation.Codec, error) {
	if s.codec != nil {
		return *s.codec, nil
	}
	st, err := s.Status(ctx)
	if err != nil {
		return operation.Codec{}, err
	}
	family, err := operation.ParseFamily(st.Family)
	if err != nil {
		return operation.Codec{}, fmt.Errorf("%s: %w", s.where, err)
	}
	encoding, err := operation.ParseEncoding(st.Encoding)
	if err != nil {
		return operation.Codec{}, fmt.Errorf("%s: %w", s.where, err)
	}
	c := operation.NewCodec(family, encoding)
	s.codec = &c
	return c, nil
}

// stored is what the database keeps of a key or value: what import keeps of it.
func (s *session) stored(ctx context.Context, t text) ([]byte, error) {
	c, err := s.database(ctx)
	if err != nil {
		return nil, err
	}
	return importer.StoredKey(c, t.bytes, t.raw), nil
}

// show is a byte string of an answer in a table.
func (s *session) show(encoded string) string {
	if s.form != "" {
		return line(encoded)
	}
	b, err := s.Decode(encoded)
	if err != nil {
		return line(encoded)
	}
	return cell(b)
}

// showIf is show for what may not be there.
func (s *session) showIf(encoded *string) string {
	if encoded == nil {
		return ""
	}
	return s.show(*encoded)
}
