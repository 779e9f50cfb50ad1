package database

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/store"
)

// Damage is stored data that was found not to be what was written. What else is
// stored can be read as before: every block has a checksum, so a read gives what
// was written or fails.
type Damage struct {
	Generation uint64
	Err        error // matches store.ErrCorrupt; says where it was met
	Time       time.Time

	// The state that was lost with it: zero, if nothing was readable.
	Size  uint64
	Root  mmr.Digest
	Start uint64
}

// NoteDamage says that a generation was found to be damaged; 0 is the one in
// use. The first one counts, until the generation is set aside. Errors that do
// not match store.ErrCorrupt mean nothing here, so it may be told of any.
func (d *DB) NoteDamage(generation uint64, err error) {
	if !errors.Is(err, store.ErrCorrupt) {
		return
	}
	d.mu.Lock()
	inUse := d.gen != nil && (generation == 0 || generation == d.gen.Number())
	staged := d.staged != nil && generation == d.staged.Number()
	if d.damage != nil || !inUse && !staged {
		d.mu.Unlock()
		return
	}
	x := &Damage{Generation: generation, Err: err, Time: time.Now().UTC()}
	if inUse {
		x.Generation = d.gen.Number()
		if d.view != nil {
			x.Size, x.Root, x.Start = d.view.Size(), d.view.Root(), d.view.Start()
		}
	}
	d.damage = x
	d.mu.Unlock()
	if inUse {
		d.dir.MarkDamaged(store.Mark{Generation: x.Generation, Time: x.Time, Error: err.Error()})
	}
	select {
	case d.damaged <- struct{}{}:
	default:
	}
	d.log.Error("stored data is damaged", "path", d.Path(), "generation", x.Generation, "readable", inUse, "error", err)
}

// recall takes over what an earlier process has found to be damaged. The database is
// open.
func (d *DB) recall() {
	m := d.dir.Marked()
	if m == nil || d.view == nil {
		return
	}
	err := &store.CorruptError{Where: d.Path(), Err: fmt.Errorf("found by an earlier process, at %s: %s; "+
		"stop this one and run proofsync fsck --repair %s, which looks at everything and forgets it if nothing is wrong any more",
		m.Time.Format(time.RFC3339), m.Error, d.Path())}
	d.damage = &Damage{
		Generation: d.gen.Number(), Err: err, Time: m.Time,
		Size: d.view.Size(), Root: d.view.Root(), Start: d.view.Start(),
	}
	d.damaged <- struct{}{}
	d.log.Error("stored data is damaged", "path", d.Path(), "generation", d.gen.Number(), "readable", true, "error", err)
}

// StandIn returns an empty database, in memory, in the place of one that could not be
// opened because of damage: nothing is readable, and nothing in dir is touched or
// locked. It is for a replica that has to stay and say so: its Damage is known.
func StandIn(dir string, o Options, damage error) (*DB, error) {
	o.FS, o.CreateIfMissing, o.ReadOnly, o.Epoch, o.Rebuild = store.MemFS(), false, false, 0, false
	db, err := Open(dir, o)
	if err != nil {
		return nil, err
	}
	db.damage = &Damage{Err: damage, Time: time.Now().UTC()}
	db.damaged <- struct{}{}
	db.log.Error("stored data is damaged", "path", dir, "readable", false, "error", damage)
	return db, nil
}

// Damage is what is known to be damaged; nil: nothing.
func (d *DB) Damage() *Damage {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.damage
}

// Damaged returns a channel that gets a token when Damage changes from nil. It is
// for one receiver.
func (d *DB) Damaged() <-chan struct{} { return d.damaged }

// Quarantine sets the damaged generation aside, below DIR/quarantine, and returns
// what was wrong with it; nil: nothing is. If it was the one in use, nothing is
// readable afterwards, and a new one can be staged. Those who still hold a View
// keep it; the generation is moved when the last one is closed. There must be
// no Load.
func (d *DB) Quarantine() (*Damage, error) {
	d.write.Lock()
	defer d.write.Unlock()
	if d.dir.ReadOnly() {
		return nil, store.ErrReadOnly
	}
	d.mu.Lock()
	x := d.damage
	if x == nil || d.closed {
		d.mu.Unlock()
		return nil, nil
	}
	var g *generation
	var view *View
	if d.staged != nil && d.staged.Number() == x.Generation {
		g, d.staged = d.staged, nil
	} else {
		g, d.gen = d.gen, nil
		view, d.view, d.stored = d.view, nil, store.State{}
	}
	d.damage, d.failed = nil, nil
	d.quarantined++
	d.mu.Unlock()

	var err error
	if d.writer != nil {
		err, d.writer = d.writer.w.Close(), nil
	}
	g.mu.Lock()
	g.aside = x
	g.mu.Unlock()
	if view != nil {
		if x.Size > 0 { // before it is given up: a restart must not forget it
			if kept := d.dir.KeepLost(store.Lost{Size: x.Size, Root: x.Root}); kept != nil {
				d.log.Error("history lost with damaged data is remembered only until the process ends", "error", kept)
			}
		}
		err = errors.Join(err, d.dir.Abandon())
		view.Close()
	}
	return x, errors.Join(err, g.release())
}

// Lost is what was readable before damaged data was set aside, also by an earlier
// process; zero: nothing was, or ForgetLost was called.
func (d *DB) Lost() (store.Lost, error) { return d.dir.ReadLost() }

// ForgetLost is called when what took the place of lost data was compared with it.
func (d *DB) ForgetLost() error { return d.dir.ForgetLost() }

// setAside moves a closed generation. That it could not be closed is no news.
func (d *DB) setAside(g *generation, closing error) {
	path, err := d.dir.Quarantine(g.Number(), evidenceOf(g.aside, closing))
	if err != nil {
		d.log.Error("damaged generation not set aside", "path", g.Path(), "error", err)
		return
	}
	d.log.Warn("damaged generation set aside, in the place of what was there before; delete it when nobody wants to look at it any more",
		"path", path)
}

// evidenceOf is what is kept beside damaged data, for people.
func evidenceOf(x *Damage, closing error) []byte {
	e := struct {
		Time       time.Time   `json:"time"`
		Generation uint64      `json:"generation,omitempty"`
		Error      string      `json:"error"`
		Closing    string      `json:"error_on_close,omitempty"`
		Start      uint64      `json:"start"`
		Size       uint64      `json:"size"`
		Root       *mmr.Digest `json:"root,omitempty"`
	}{Time: x.Time, Generation: x.Generation, Error: x.Err.Error(), Start: x.Start, Size: x.Size}
	if closing != nil {
		e.Closing = closing.Error()
	}
	if x.Size > 0 {
		e.Root = &x.Root
	}
	b, err := json.MarshalIndent(e, "", "  ")
	if err != nil { // strings and numbers
		panic(err)
	}
	return append(b, '\n')
}

// reopen sets a directory aside that could not be opened because of damage, and
// opens an empty one in its place.
func reopen(dir string, o Options, damage error) (*DB, error) {
	o.Logger.Error("stored data is damaged, found when it was opened", "path", dir, "error", damage)
	path, err := store.QuarantineDir(o.FS, dir, evidenceOf(&Damage{Err: damage, Time: time.Now().UTC()}, nil))
	if err != nil {
		return nil, errors.Join(damage, err)
	}
	o.Logger.Warn("damaged data set aside, in the place of what was there before; everything is fetched anew", "path", path)
	db, err := openDB(dir, o)
	if err != nil {
		return nil, fmt.Errorf("after damaged data was set aside: %w", err)
	}
	db.quarantined++
	return db, nil
}
