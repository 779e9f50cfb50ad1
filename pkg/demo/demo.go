// Package demo shows the whole system at work in one process, on real input:
// a server, two replicas, changing data, and an answer that is tampered with.
// It is a demonstration that checks itself, not a way to run anything.
//
//	Go's sources --importer--> database --serve--> loopback --syncer--> client-a
//	                                                  '--tampering proxy--syncer--> client-b
//
// The parts are the ones the commands server and client consist of; only the
// proxy, which changes one bit of one answer, exists for the demonstration.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/proofsync/proofsync/pkg/mmr"
)

// Options of a demonstration. The zero value is usable.
type Options struct {
	Out      io.Writer     // gets the narration; nil discards it
	Live     bool          // Out is a terminal: rows change while replicas catch up
	Rounds   int           // edits shown; 0 is 8
	Interval time.Duration // between edits; 0 is none
	Keep     bool          // leave the storage directories behind
	TempDir  string        // where they are made; empty is the system's
	Logger   *slog.Logger  // of all parts; nil discards
}

// DefaultRounds is the number of edits shown unless Options say otherwise.
const DefaultRounds = 8

// patience bounds every wait for a replica. What takes longer on loopback is broken.
const patience = 10 * time.Second

// Summary is what the demonstration came to.
type Summary struct {
	Material  string     `json:"material"`
	Records   int64      `json:"records"`
	Rounds    int        `json:"rounds"`
	Size      uint64     `json:"size"`
	Root      mmr.Digest `json:"root"` // of the server and both replicas
	Tampered  int        `json:"answers_tampered"`
	Refused   int        `json:"answers_refused"`
	Recovered bool       `json:"recovered"`
	KeyRead   string     `json:"key_read"`
	Directory string     `json:"directory,omitempty"` // if kept
	Seconds   float64    `json:"seconds"`
}

// Run shows everything and ends by itself. It fails when the replicas do not
// come to the server's root, when the tampered answer is not refused or changes
// what a replica shows, and when a replica reads another value than the server.
// The directories are gone when it returns unless they are to be kept.
func Run(ctx context.Context, o Options) (s Summary, err error) {
	began := time.Now()
	if o.Rounds <= 0 {
		o.Rounds = DefaultRounds
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	dir, err := os.MkdirTemp(o.TempDir, "proofsync-demo-*")
	if err != nil {
		return s, err
	}
	defer func() {
		if o.Keep {
			s.Directory = dir
		} else {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	st := &stage{options: o, dir: dir, print: &printer{w: o.Out, live: o.Live}, summary: &s}
	err = st.play(ctx)
	err = errors.Join(err, st.close())
	s.Seconds = time.Since(began).Seconds()
	if err == nil {
		err = st.print.err
	}
	return s, err
}

// stage holds the parts while they play.
type stage struct {
	options Options
	dir     string
	print   *printer
	summary *Summary

	server   *server
	proxy    *proxy
	replicas []*replica // client-a, client-b
}

func (st *stage) play(ctx context.Context) error {
	if err := st.build(ctx); err != nil {
		return err
	}
	if err := st.follow(ctx); err != nil {
		return err
	}
	if err := st.tamper(ctx); err != nil {
		return err
	}
	return st.read()
}

// build imports the material and starts server, proxy and replicas.
func (st *stage) build(ctx context.Context) (err error) {
	o := st.options
	m, err := findMaterial(ctx)
	if err != nil {
		return err
	}
	st.summary.Material = m.String()
	st.print.say("material", "%s", m)
	if st.server, err = newServer(filepath.Join(st.dir, "server"), o.Logger); err != nil {
		return err
	}
	result, err := st.server.load(ctx, m, st.dir)
	if err != nil {
		return err
	}
	st.summary.Records = result.Records
	if err := st.server.listen(); err != nil {
		return err
	}
	st.print.say("server", "%d records imported in %s, served on %s", result.Records,
		result.Duration.Round(time.Millisecond), st.server.addr())
	if st.proxy, err = newProxy(st.server.addr(), st.server.db.Codec()); err != nil {
		return err
	}
	for _, c := range []struct{ name, addr string }{{"client-a", st.server.addr()}, {"client-b", st.proxy.addr()}} {
		r, err := newReplica(c.name, filepath.Join(st.dir, c.name), c.addr, st.server.db.Codec(), o.Logger)
		if err != nil {
			return err
		}
		st.replicas = append(st.replicas, r)
	}
	st.print.say("clients", "client-a follows the server, client-b follows it through a proxy; both verify every answer")
	return nil
}

// follow edits the data and shows the three roots moving together.
func (st *stage) follow(ctx context.Context) error {
	st.print.header()
	if err := st.agree(ctx, "import"); err != nil {
		return err
	}
	for range st.options.Rounds {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(st.options.Interval):
		}
		change, err := st.server.edit(ctx)
		if err != nil {
			return err
		}
		st.summary.Rounds++
		if err := st.agree(ctx, change); err != nil {
			return err
		}
	}
	return nil
}

// agree waits until both replicas show the server's root and prints the row.
func (st *stage) agree(ctx context.Context, change string) error {
	began := time.Now()
	head := st.server.head
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("replicas do not come to the server's root"))
	defer cancel()
	for _, r := range st.replicas {
		err := r.reach(ctx, head, func() { st.print.partial(change, head, st.replicas) })
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	st.summary.Size, st.summary.Root = head.Size, head.Root
	st.print.row(change, head, st.replicas, time.Since(began))
	return nil
}

// tamper lets the proxy change one answer and shows what becomes of it.
func (st *stage) tamper(ctx context.Context) error {
	victim := st.replicas[1]
	before := victim.head()
	refused := victim.refused()
	st.proxy.arm()
	if _, err := st.server.edit(ctx); err != nil {
		return err
	}
	st.print.write("\n")
	st.print.say("tampering", "the server changes; the proxy flips one bit of its next answer to client-b")
	wait, cancel := context.WithTimeoutCause(ctx, patience, errors.New("the tampered answer was not refused"))
	defer cancel()
	for victim.refused() == refused {
		select {
		case <-wait.Done():
			return context.Cause(wait)
		case err := <-victim.ended:
			return fmt.Errorf("client-b ended: %w", errors.Join(errEnded, err))
		case <-time.After(5 * time.Millisecond):
		}
	}
	after := victim.head()
	st.summary.Tampered, st.summary.Refused = st.proxy.tampered(), victim.refused()-refused
	if after.Root != before.Root && after.Root != st.server.head.Root {
		return fmt.Errorf("client-b shows root %s after a tampered answer; the server never had it", after.Root)
	}
	if after.Root == before.Root {
		st.print.say("refused", "client-b found the proof wrong and kept its root %s", short(after.Root))
	} else {
		st.print.say("refused", "client-b found the proof wrong and asked again")
	}
	if err := st.agree(ctx, "recovered"); err != nil {
		return err
	}
	st.summary.Recovered = true
	return st.checkHistory()
}

// checkHistory: every root a replica ever showed is one the server published.
func (st *stage) checkHistory() error {
	for _, r := range st.replicas {
		for _, root := range r.shown() {
			if !st.server.published[root] {
				return fmt.Errorf("%s showed root %s; the server never had it", r.name, root)
			}
		}
	}
	return nil
}

// read gets one key from all three.
func (st *stage) read() error {
	key := st.server.lastEdited
	want, err := get(st.server.db, key)
	if err != nil {
		return fmt.Errorf("server: %w", err)
	}
	for _, r := range st.replicas {
		got, err := get(r.db, key)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		if string(got) != string(want) {
			return fmt.Errorf("%s has another value for %q than the server", r.name, key)
		}
		st.print.say("read", "%s has %q: %d bytes, ending in %q", r.name, key, len(got), tail(got))
	}
	st.summary.KeyRead = string(key)
	return nil
}

// close stops everything in the order of the data's flow, backwards.
func (st *stage) close() error {
	var errs []error
	for _, r := range st.replicas {
		errs = append(errs, r.close())
	}
	if st.proxy != nil {
		errs = append(errs, st.proxy.close())
	}
	if st.server != nil {
		errs = append(errs, st.server.close())
	}
	return errors.Join(errs...)
}
