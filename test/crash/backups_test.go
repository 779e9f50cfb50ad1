package crash

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/store"
	"github.com/proofsync/proofsync/pkg/store/storetest"
)

// backupDir is where backups lie, beside the storage directory.
const backupDir = "var/backup"

// backup makes one between commits. That it fails is not the database's trouble.
func backup(t testing.TB) *kind {
	k := &kind{name: "backup", codec: anyFixed, batches: history(), syncs: 10, small: true}
	k.prepare = func() (*storetest.Disk, int, error) {
		p := newProcess(k, storetest.NewDisk(), -1)
		return p.disk, 8, opened(p, func() error { return applyFrom(p.db.Load(), k.batches, 8, 1) })
	}
	k.run = func(p *process) error {
		return opened(p, func() error {
			if err := applyFrom(p.db.Load(), k.batches, 10, 1); err != nil {
				return err
			}
			return errors.Join(p.backup(), applyFrom(p.db.Load(), k.batches, 12, 1))
		})
	}
	k = writer(t, k)
	goOn := k.goOn
	k.goOn = func(p *process) error {
		// What has the name is complete; there is nothing, or nothing that is in the way, otherwise.
		if _, err := p.disk.FS().Stat(backupDir); errors.Is(err, fs.ErrNotExist) {
			if err := p.backup(); err != nil {
				return err
			}
		}
		return errors.Join(k.holds(p.disk, backupDir), goOn(p))
	}
	return k
}

func (p *process) backup() error {
	_, err := p.db.Load().Backup(context.Background(), backupDir, nil)
	p.backed.Store(err == nil)
	return err
}

// holds says whether a directory that nobody has open holds a state of the ledger.
func (k *kind) holds(d *storetest.Disk, path string) error {
	if err := inspect(d, path); err != nil {
		return err
	}
	db, err := database.Open(path, database.Options{Codec: k.codec, FS: d.FS(), ReadOnly: true, CacheBytes: 1 << 20})
	if err != nil {
		return err
	}
	defer db.Close()
	if s := db.Loads(); !s.Published {
		return fmt.Errorf("nothing is published in %s", path)
	} else if _, ok := k.ledger.index[s.Root]; !ok {
		return fmt.Errorf("%s has root %s at size %d, which no commit has", path, s.Root, s.Size)
	}
	return nil
}

// restore makes the storage directory of a backup: of no directory at all, or of an
// empty one, which may be a mounted volume and so keeps its place.
func restore(name string, volume bool) func(testing.TB) *kind {
	return func(t testing.TB) *kind {
		const held = 8 // state of the backup
		k := &kind{name: name, codec: anyFixed, batches: history(), ahead: held + 1, syncs: 8, small: true}
		k.prepare = func() (*storetest.Disk, int, error) {
			p := newProcess(k, storetest.NewDisk(), -1)
			db, err := database.Open(backupDir, database.Options{Codec: k.codec, FS: p.disk.FS(), CreateIfMissing: true})
			if err == nil {
				err = errors.Join(applyFrom(db, k.batches, held, 1), db.Close())
			}
			if err == nil && volume {
				err = mkdir(p.disk.FS(), dir)
			}
			return p.disk, -1, err
		}
		k.again = func(p *process) error {
			if _, err := store.ReadIdentity(p.disk.FS(), dir); err == nil {
				return nil
			}
			return p.restore(held)
		}
		k.run = func(p *process) error {
			if err := p.restore(held); err != nil {
				return err
			}
			return opened(p, func() error { return nil })
		}
		return writer(t, k)
	}
}

// restore makes the storage directory, which has the given state afterwards.
func (p *process) restore(state int) error {
	_, err := store.Restore(context.Background(), store.RestoreOptions{
		From: backupDir, To: dir, FS: p.disk.FS(),
		Check: func(_ context.Context, dir string) error { return inspect(p.disk, dir) },
	})
	if err == nil {
		p.high.Store(int64(state))
	}
	return err
}

// mkdir makes a directory durably.
func mkdir(fs store.FS, name string) error {
	if err := fs.MkdirAll(name, 0o755); err != nil {
		return err
	}
	parent, err := fs.OpenDir(path.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}
