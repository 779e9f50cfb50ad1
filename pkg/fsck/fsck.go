// Package fsck answers whether what a storage directory holds is right, and
// rebuilds what can be derived.
//
// Everything follows from the operations: their digests, tiles and root, the
// inactivity floor, the key index and the number of live keys. Check reads each
// operation once, computes all of that anew, and compares it with what is
// stored. It writes nothing. Repair rebuilds tiles and index where they differ;
// it never touches operations, nor what the state says of them.
//
//	bundles --> hash, decode (all cores) --> in order: frontier --> tiles, root, floor   == stored?
//	                   '--> fingerprint of the entries there must be --.
//	index   --> fingerprint of the entries there are ------------------'-- equal? else: which differ
//
// It is not for a directory that a process holds, and it trusts nobody but the
// root in the state: whether that root is the one others know is for
// HEAD, for proofsync diff, and for whoever has seen it elsewhere.
package fsck

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// Options configure a check. The zero value is useful.
type Options struct {
	FS          store.FS     // nil: the operating system's
	CacheBytes  int64        // memory for the storage engine's cache; 0: store.DefaultCacheBytes
	Workers     int          // goroutines that hash; 0: one a core
	MaxFindings int          // listed in the report, at least; the rest is counted; 0: DefaultMaxFindings
	Logger      *slog.Logger // nil: discard

	// Progress is told how far a long task is, about twice a second, from one
	// goroutine at a time.
	Progress func(Progress)
}

// DefaultMaxFindings is how many findings are listed unless asked otherwise.
const DefaultMaxFindings = 100

// Progress says how far a task is.
type Progress struct {
	Generation uint64
	Task       Task
	Done       uint64 // operations read, and the index entries that belong to as many
	Total      uint64 // operations there are
	Elapsed    time.Duration
}

// Rate is the number of operations a second so far.
func (p Progress) Rate() float64 {
	if p.Elapsed <= 0 {
		return 0
	}
	return float64(p.Done) / p.Elapsed.Seconds()
}

// Left estimates the time the rest takes; 0: no idea yet.
func (p Progress) Left() time.Duration {
	if p.Done == 0 {
		return 0
	}
	return time.Duration(float64(p.Elapsed) / float64(p.Done) * float64(p.Total-min(p.Done, p.Total)))
}

// Task is what is being done.
type Task string

// The tasks.
const (
	Checking  Task = "checking"            // one pass over operations, tiles and index
	Comparing Task = "comparing the index" // a second pass, if the index differs
	Building  Task = "rebuilding"          // tiles and index from the operations
	Diffing   Task = "comparing"           // two logs, operation by operation
)

func (o Options) withDefaults() Options {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.MaxFindings <= 0 {
		o.MaxFindings = DefaultMaxFindings
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Check reads everything in a storage directory and says what is not as it
// should be. What is damaged is in the report, also where it keeps the rest
// from being read; an error says that nothing could be said: store.ErrNotFound,
// store.ErrForeign, *store.LockedError, *store.VersionError, that of ctx, or
// one of the file system.
func Check(ctx context.Context, dir string, o Options) (*Report, error) {
	r, _, err := check(ctx, dir, o.withDefaults())
	return r, err
}

// check also returns, by generation, what would repair it.
func check(ctx context.Context, dir string, o Options) (*Report, map[uint64]*plan, error) {
	r := &Report{Directory: dir, max: o.MaxFindings}
	began := time.Now()
	defer func() { r.Elapsed = time.Since(began) }()
	plans := map[uint64]*plan{}
	codec, err := database.Detect(dir, o.FS)
	if errors.Is(err, store.ErrCorrupt) {
		r.add(Finding{Space: Current, Problem: Malformed, Detail: reason(err)})
		return r, plans, nil
	}
	if err != nil {
		return nil, nil, err
	}
	r.Database = codec.String()
	d, err := store.OpenDir(dir, store.Options{
		Identity: identity(codec), FS: o.FS, ReadOnly: true, AnyHead: true,
		CacheBytes: o.CacheBytes, Logger: o.Logger,
	})
	if err != nil {
		return nil, nil, err
	}
	err = checkDir(ctx, d, codec, r, plans, o)
	return r, plans, errors.Join(err, d.Close())
}

func identity(c operation.Codec) store.Identity {
	return store.Identity{Database: c.String(), OpSize: c.Size()}
}

func checkDir(ctx context.Context, d *store.Dir, codec operation.Codec, r *Report, plans map[uint64]*plan, o Options) error {
	head := d.Head()
	if err := d.HeadError(); err != nil {
		r.add(Finding{Space: Head, Problem: Malformed, Detail: reason(err)})
		head = store.Head{}
	} else if head != (store.Head{}) {
		r.Head = &Acknowledged{head.Generation, head.Size, head.Root}
	}
	staged, err := d.Staged()
	if err != nil {
		return err
	}
	for _, n := range []uint64{d.Current(), staged} {
		if n == 0 {
			continue
		}
		p := &plan{}
		plans[n] = p
		c := &checker{o: o, codec: codec, r: r, plan: p, inUse: n == d.Current()}
		if head.Generation == n {
			c.head = head
		}
		if err := c.open(ctx, d, n); err != nil {
			return fmt.Errorf("generation %d: %w", n, err)
		}
	}
	return nil
}

// checker checks one generation.
type checker struct {
	o     Options
	codec operation.Codec
	r     *Report
	plan  *plan
	inUse bool       // CURRENT names it
	head  store.Head // if it speaks of this generation

	g     *store.Generation
	s     store.State
	sum   *Generation // what the report says of it
	lost  []span      // operations that could not be had
	wrong bool        // the operations do not lead to the root, or that cannot be told
}

// span is a range of locations.
type span struct{ from, to uint64 }

// open checks generation n, if it can be opened.
func (c *checker) open(ctx context.Context, d *store.Dir, n uint64) error {
	g, err := d.OpenGenerationForReading(n)
	if err != nil {
		if !damaged(err) {
			return err
		}
		f := Finding{Generation: n, Space: State, Problem: Unreadable, Detail: reason(err)}
		if !c.inUse {
			f.Severity = Note // it was never readable, and is removed when the database is opened
		}
		c.r.add(f)
		return nil
	}
	c.g, c.s = g, g.State()
	c.r.Generations = append(c.r.Generations, Generation{
		Number: n, InUse: c.inUse, Start: c.s.Start, Size: c.s.Size, Stored: c.s.Stored, Floor: c.s.Floor, Root: c.s.Root,
	})
	c.sum = &c.r.Generations[len(c.r.Generations)-1]
	c.plan.state = c.s
	err = c.run(ctx)
	return errors.Join(err, g.Close())
}

// damaged says whether an error of opening a generation is about its content:
// the storage engine does not mark all of those.
func damaged(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, fs.ErrPermission) {
		return false
	}
	if _, ok := errors.AsType[*store.LockedError](err); ok {
		return false
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return errors.Is(err, store.ErrCorrupt) || errors.Is(err, fs.ErrNotExist)
	}
	return true
}

func (c *checker) run(ctx context.Context) error {
	c.checkState()
	p, err := c.pass(ctx)
	if err != nil {
		return err
	}
	if err := c.differences(ctx, p); err != nil {
		return err
	}
	c.checkNotes()
	if c.wrong && c.inUse {
		c.blameOperations()
	}
	return nil
}

// checkState compares the state with what CURRENT and HEAD say.
func (c *checker) checkState() {
	if c.inUse && !c.s.Published() {
		c.add(Finding{Space: State, Problem: Missing, Detail: "the generation in use has nothing published"})
	}
	switch h := c.head; {
	case h.Size > c.s.Size:
		c.add(Finding{
			Space: Head, Problem: Missing, From: c.s.Size, To: h.Size, Ranged: true,
			Expected: fmt.Sprintf("%d operations, as acknowledged", h.Size), Found: fmt.Sprintf("%d", c.s.Size),
		})
	case h.Size == c.s.Size && h.Size > 0 && h.Root != c.s.Root:
		c.add(Finding{Space: Head, Problem: Different, Expected: "root " + h.Root.String() + ", as acknowledged", Found: c.s.Root.String()})
	}
	if from, ok, err := c.g.Pending(c.s.Start); err == nil && ok {
		c.add(Finding{
			Space: Operations, Severity: Note, Problem: Extra, From: from, To: c.s.Start, Ranged: true,
			Detail: "below the start: pruned, to be removed when the database is open for writing",
		})
	}
}

func (c *checker) checkNotes() {
	err := c.g.Notes(func(key, value []byte) bool {
		c.sum.Notes++
		if len(key) == 0 || len(key) > store.MaxNoteKey || len(value) > store.MaxNoteValue {
			c.add(Finding{Space: Notes, Problem: Malformed, Key: append(Bytes{}, key...), Found: fmt.Sprintf("a value of %d bytes", len(value))})
		}
		return true
	})
	if err != nil {
		c.add(Finding{
			Space: Notes, Problem: Unreadable, Rebuild: true,
			Detail: reason(err) + "; a repair keeps those that can be read and forgets the others",
		})
	}
	err = c.g.Strays(func(key []byte) {
		c.add(Finding{Space: Unknown, Severity: Note, Problem: Extra, Key: key})
	})
	if err != nil {
		c.add(Finding{Space: Unknown, Problem: Unreadable, Rebuild: true, Detail: reason(err)})
	}
}

// add reports a finding about this generation.
func (c *checker) add(f Finding) {
	f.Generation = c.g.Number()
	if f.Severity != Note {
		c.plan.damage()
		f.Repairable = f.Repairable || !c.inUse // by removing it
	}
	if f.Rebuild {
		c.plan.wants(nil)
	}
	c.r.add(f)
}

// blameOperations turns around what was said of tiles, when they and the
// operations differ and the operations do not lead to the root: then it is not
// the tiles that can be repaired.
func (c *checker) blameOperations() {
	for i := range c.r.Findings {
		f := &c.r.Findings[i]
		if f.Generation != c.g.Number() || !f.Repairable {
			continue
		}
		f.Repairable = false
		if f.Space == Tiles && f.Problem == Different {
			f.Space = Operations
			f.Detail = "operations that do not belong to the digest stored for them"
			f.Expected, f.Found = f.Found, f.Expected
		}
	}
	c.plan.impossible = true
}
