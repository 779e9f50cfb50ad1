package database

import (
	"errors"
	"fmt"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// LoadState says where a replica stands.
type LoadState struct {
	Published bool       // something is readable
	Start     uint64     // of the generation in use
	Size      uint64     // readable
	Root      mmr.Digest // at Size
	Stored    uint64     // verified and stored, at least Size

	Staged                 bool // a new generation is in the making
	StagedStart, StagedEnd uint64
	StagedGeneration       uint64 // its number
}

// Loads says what is there to be continued.
func (d *DB) Loads() LoadState {
	d.mu.Lock()
	defer d.mu.Unlock()
	var l LoadState
	if d.view != nil {
		s := d.view.state
		l = LoadState{Published: true, Start: s.Start, Size: s.Size, Root: s.Root, Stored: d.stored.Stored}
	}
	if d.staged != nil {
		s := d.stagedState
		l.Staged, l.StagedStart, l.StagedEnd, l.StagedGeneration = true, s.Start, s.Stored, d.staged.Number()
	}
	return l
}

// Room says whether so many bytes may be written in the long run: nil, or a
// *space.LowError. Every write asks for itself; this is for what is to be known
// before the first one.
func (d *DB) Room(bytes uint64) error { return d.space.Need(bytes) }

// RootError: the operations of a load lead to another root than the trusted one.
type RootError struct {
	Size      uint64
	Want, Got mmr.Digest
}

func (e *RootError) Error() string {
	return fmt.Sprintf("root at size %d is %s, trusted %s", e.Size, e.Got, e.Want)
}

// ErrNoCommit: the last operation of a load is no commit that could be published.
var ErrNoCommit = errors.New("log does not end with a valid commit")

// Load adds verified operations to a replica. While it is open, nothing else
// writes. Not safe for concurrent use.
//
// Flush makes progress durable, Publish makes it readable; what is neither
// when the process ends is fetched again.
type Load struct {
	d      *DB
	g      *generation
	staged bool
	w      *writerState
	until  uint64 // expected end; 0: not known
	closed bool
}

// Limits of what a load holds in memory before it flushes by itself: the
// index entries and tiles of about a quarter of a million fixed operations. As
// much again is on its way to the disk.
const (
	loadBytes      = 24 << 20
	loadOperations = 256 << 10
)

// Extend continues the generation in use at LoadState.Stored. ErrEmpty if
// there is none.
func (d *DB) Extend() (*Load, error) { return d.load(false) }

// ContinueStaged continues the generation in the making at
// LoadState.StagedEnd. ErrEmpty if there is none.
func (d *DB) ContinueStaged() (*Load, error) { return d.load(true) }

func (d *DB) load(staged bool) (*Load, error) {
	l, err := d.newLoad()
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	g, s := d.gen, d.stored
	if staged {
		g, s = d.staged, d.stagedState
	}
	d.mu.Unlock()
	if g == nil {
		err = ErrEmpty // also after a Quarantine in between
	} else {
		l.g, l.staged = g, staged
		g.HoldMerges(staged) // nobody reads it yet
		l.w, err = d.newWriter(g, s)
	}
	if err != nil {
		d.write.Unlock()
		return nil, err
	}
	return l, nil
}

// Stage begins a new generation whose log starts at start with the given
// verified pinned nodes. It replaces one that is in the making; the
// generation in use stays readable until the new one is published.
func (d *DB) Stage(start uint64, pins []mmr.Digest) (*Load, error) {
	l, err := d.newLoad()
	if err != nil {
		return nil, err
	}
	if err := l.stage(start, pins); err != nil {
		d.write.Unlock()
		return nil, err
	}
	return l, nil
}

// generationBytes is what an empty generation takes on the disk, with room for
// the log that the storage engine allocates ahead.
const generationBytes = 9 << 20

func (l *Load) stage(start uint64, pins []mmr.Digest) error {
	d := l.d
	if _, err := mmr.NewFrontier(start, pins); err != nil {
		return err
	}
	if err := d.space.Need(generationBytes); err != nil {
		return err
	}
	if d.staged != nil {
		if err := d.dropStaged(); err != nil {
			return err
		}
	}
	g, err := d.dir.CreateGeneration(start, pins)
	if err != nil {
		return err
	}
	l.g, l.staged = d.own(g), true
	d.mu.Lock()
	d.staged, d.stagedState = l.g, g.State()
	d.mu.Unlock()
	g.HoldMerges(true)
	l.w, err = d.newWriter(l.g, g.State())
	return err
}

// newLoad takes the right to write; it is given back by Close, or by the
// caller when the load does not come about.
func (d *DB) newLoad() (*Load, error) {
	d.write.Lock()
	d.mu.Lock()
	closed := d.closed
	d.mu.Unlock()
	var err error
	switch {
	case closed:
		err = ErrClosed
	case d.dir.ReadOnly():
		if err = d.space.Need(0); err == nil { // else that is why
			err = store.ErrReadOnly
		}
	case d.failed != nil:
		err = fmt.Errorf("%w: %w", ErrFailed, d.failed)
	case d.writer != nil:
		err = d.writer.w.Close()
		d.writer = nil
	}
	if err != nil {
		d.write.Unlock()
		return nil, err
	}
	return &Load{d: d}, nil
}

// dropStaged removes the generation in the making. Nobody reads it.
func (d *DB) dropStaged() error {
	d.mu.Lock()
	g := d.staged
	d.staged = nil
	d.mu.Unlock()
	g.mu.Lock()
	g.drop = true
	g.mu.Unlock()
	return g.release()
}

// Generation is the number of the generation.
func (l *Load) Generation() uint64 { return l.g.Number() }

// Start is the first location of the generation.
func (l *Load) Start() uint64 { return l.w.state.Start }

// End is one past the last location appended.
func (l *Load) End() uint64 { return l.w.frontier.Leaves() }

// Peaks are the peaks of the tree with End leaves, oldest first.
func (l *Load) Peaks() []mmr.Digest { return l.w.frontier.Peaks() }

// Append adds verified operations, which start at End. span holds their
// digests; both are copied from. Now and then it flushes. After a
// *space.LowError nothing was appended, and the load can only be closed; what
// was flushed stays.
func (l *Load) Append(span *mmr.Span, run operation.Run) error {
	if err := l.d.space.Need(spaceOf(len(run.Bytes()), run.Len())); err != nil {
		return err
	}
	expect := min(l.rest(), uint64(l.d.loadOperations+run.Len())) // the flush comes after what goes beyond
	if err := l.w.appendSpan(span, run, int(expect)); err != nil {
		return l.fail(err)
	}
	if pending := l.w.w.Pending(); l.w.w.PendingBytes() >= loadBytes || pending >= l.d.loadOperations || l.tail(pending) {
		return l.flushLater()
	}
	return nil
}

// Until says where the load will probably end, so that little is left to be
// written then.
func (l *Load) Until(end uint64) { l.until = end }

// tail says whether what is pending is best written now, beside the rest that
// is still to come.
func (l *Load) tail(pending int) bool {
	rest := l.rest()
	return pending >= l.d.loadOperations/4 && rest > 0 && rest <= uint64(pending)/2
}

// rest is how many operations are probably still to come.
func (l *Load) rest() uint64 { return l.until - min(l.until, l.End()) }

// flushLater is Flush, except that it does not wait for the disk: the next one does.
func (l *Load) flushLater() error {
	if err := l.settle(); err != nil {
		return err
	}
	if err := l.room(); err != nil {
		return err
	}
	if err := l.w.flushLater(); err != nil {
		return l.fail(err)
	}
	return nil
}

// settle waits for what flushLater began, and notes how far it came.
func (l *Load) settle() error {
	err := l.w.settle()
	l.note()
	if err != nil {
		return l.fail(err)
	}
	return nil
}

// Flush makes everything up to End durable, so that a killed process
// continues there. Nothing becomes readable.
func (l *Load) Flush() error {
	if err := l.settle(); err != nil || l.w.w.Pending() == 0 {
		return err
	}
	if err := l.room(); err != nil {
		return err
	}
	if err := l.w.flush(); err != nil {
		return l.fail(err)
	}
	l.note()
	return nil
}

// room says whether what is pending may be written.
func (l *Load) room() error { return l.d.space.Need(uint64(2 * l.w.w.PendingBytes())) }

// fail stops the database: what is in memory may differ from what is on disk.
func (l *Load) fail(err error) error {
	l.d.failed = err
	return err
}

// note tells the database what the load has stored.
func (l *Load) note() {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	if l.staged {
		l.d.stagedState = l.w.state
	} else {
		l.d.stored = l.w.state
	}
}

// Check says whether the operations up to end, which must be End, could be
// published: they end with a commit and lead to root. Otherwise it fails with
// ErrNoCommit or *RootError.
func (l *Load) Check(root mmr.Digest, end uint64) error {
	_, err := l.check(root, end)
	return err
}

func (l *Load) check(root mmr.Digest, end uint64) (tip, error) {
	if end != l.End() {
		return tip{}, fmt.Errorf("publish at %d, the load ends at %d", end, l.End())
	}
	t, err := l.lastOperation()
	if err != nil {
		return tip{}, err
	}
	if !t.commit || t.floor >= end {
		return tip{}, fmt.Errorf("%w: size %d", ErrNoCommit, end)
	}
	if got := l.w.frontier.Root(t.floor); got != root {
		return tip{}, &RootError{Size: end, Want: root, Got: got}
	}
	return t, nil
}

// Publish makes the operations up to end, which must be End, readable in one
// step if they end with a commit and lead to root. Otherwise it fails as Check
// does and changes nothing. A generation in the making becomes the one in use.
func (l *Load) Publish(root mmr.Digest, end uint64) (Commit, error) {
	t, err := l.check(root, end)
	if err != nil {
		return Commit{}, err
	}
	if err := l.settle(); err != nil {
		return Commit{}, err
	}
	if err := l.room(); err != nil {
		return Commit{}, err
	}
	l.g.HoldMerges(false)
	added := l.w.w.Next() - l.w.state.Size
	if err := l.w.publish(t.floor); err != nil {
		return Commit{}, l.fail(err)
	}
	d := l.d
	if l.staged {
		if err := d.dir.SetCurrent(l.g.Number()); err != nil {
			return Commit{}, l.fail(err)
		}
		d.mu.Lock()
		old := d.gen
		d.gen, d.staged = l.g, nil
		d.mu.Unlock()
		l.staged = false
		d.publish(l.g, l.w.state, l.w.frontier)
		if old != nil {
			old.mu.Lock()
			old.drop = true
			old.mu.Unlock()
			if err := old.release(); err != nil {
				return Commit{}, err
			}
		}
	} else {
		d.publish(l.g, l.w.state, l.w.frontier)
	}
	return Commit{Size: end, Floor: t.floor, Root: root, Operations: int(added)}, nil
}

func (l *Load) lastOperation() (tip, error) {
	if l.w.tip.known || l.End() == l.Start() {
		return l.w.tip, nil
	}
	b, err := l.g.Operation(nil, l.End()-1)
	if err != nil {
		return tip{}, err
	}
	op, err := l.d.codec.Decode(b)
	if err != nil {
		return tip{}, &store.CorruptError{Where: l.g.Path(), Err: err}
	}
	return tip{known: true, commit: op.Kind == operation.Commit, floor: op.Floor}, nil
}

// Truncate forgets what lies beyond the readable state: everything, in a
// generation in the making.
func (l *Load) Truncate() error {
	if err := l.d.space.Need(0); err != nil {
		return err
	}
	if err := l.settle(); err != nil {
		return err
	}
	if err := l.w.w.Close(); err != nil {
		return err
	}
	s, err := l.g.Truncate(l.w.state, l.w.state.Size, indexKey(l.d.codec))
	l.w.state = s // as far as it came
	l.note()
	if err != nil {
		return l.fail(err)
	}
	w, err := l.d.newWriter(l.g, s)
	if err != nil {
		return l.fail(err)
	}
	l.w = w
	return nil
}

// Close ends the load. What was not flushed or published is dropped.
func (l *Load) Close() error {
	if l.closed {
		return nil
	}
	l.closed = true
	defer l.d.write.Unlock()
	l.g.HoldMerges(false)
	told := l.d.failed != nil
	err := l.settle()
	if told {
		err = nil
	}
	return errors.Join(err, l.w.w.Close())
}
