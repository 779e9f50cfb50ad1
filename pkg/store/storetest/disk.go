package storetest

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/proofsync/proofsync/pkg/store"
)

// Kind is what an operation does to a file system.
type Kind string

// Kinds of operations. A directory is opened and synced as a file is.
const (
	Create   Kind = "create" // a file; also one that is opened for writing and not there
	Open     Kind = "open"
	Read     Kind = "read"
	Write    Kind = "write"
	Sync     Kind = "sync"     // names its file when it fails, as all above do
	SyncData Kind = "syncdata" // the same, but the system's error does not say of which file
	Rename   Kind = "rename"
	Link     Kind = "link"
	Remove   Kind = "remove" // of a file or of everything below a directory
	Mkdir    Kind = "mkdir"
	List     Kind = "list"
	Stat     Kind = "stat"
	Lock     Kind = "lock"
	Close    Kind = "close"
)

// Reads says whether operations of this kind leave the disk as it is.
func (k Kind) Reads() bool { return k == Open || k == Read || k == List || k == Stat || k == Close }

// Op is one operation on a Disk. Path is where a rename or link leads to.
type Op struct {
	Kind Kind
	Path string
}

// Error is what an operating system says of an operation that fails with errno.
func (o Op) Error(errno syscall.Errno) error {
	switch o.Kind {
	case SyncData: // pebble asks the system itself, which does not know names
		return errno
	case Rename, Link:
		return &os.LinkError{Op: string(o.Kind), Old: "?", New: o.Path, Err: errno}
	}
	return &os.PathError{Op: string(o.Kind), Path: o.Path, Err: errno}
}

// Disk is a file system in memory that can lose its power, and be watched. Its
// operations happen one at a time, so that there is an order of them.
type Disk struct {
	mem *vfs.MemFS

	mu     sync.Mutex
	before func(Op) error
	after  func(Op)
	frozen bool
}

// NewDisk makes an empty disk.
func NewDisk() *Disk { return &Disk{mem: vfs.NewCrashableMem()} }

// FS is the file system as programs use it.
func (d *Disk) FS() store.FS { return diskFS{d.mem, d} }

// Unwatched is the same file system, for whoever watches to look at it.
func (d *Disk) Unwatched() store.FS { return d.mem }

// Watch sets what is called before every operation, which fails with the error
// returned, and after every one that did not fail; nil is nothing. Both are
// called while the disk stands still, so they may Crash it, and must not use it.
func (d *Disk) Watch(before func(Op) error, after func(Op)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.before, d.after = before, after
}

// Crash returns the disk as a power cut may leave it at this moment: what was
// synced, and of the blocks and names that were not so many percent, chosen at
// random by seed. 100 is what another process sees after a kill. Nothing else
// may use the disk meanwhile.
func (d *Disk) Crash(percent int, seed uint64) *Disk {
	return &Disk{mem: d.mem.CrashClone(vfs.CrashCloneCfg{
		UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(seed, uint64(percent))),
	})}
}

// Freeze ends everything that goes on: who uses the disk from now on waits
// for ever, as the threads of a process that was killed. It returns the disk
// as the process left it.
func (d *Disk) Freeze() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.frozen = true
	return d.Crash(100, 0)
}

// Flip changes one bit of a file, as a disk does that forgets.
func (d *Disk) Flip(name string, at int64, bit uint) error {
	f, err := d.mem.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		return err
	}
	b[0] ^= 1 << bit
	_, err = f.WriteAt(b[:], at)
	return err
}

// do does one operation.
func (d *Disk) do(kind Kind, path string, fn func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.frozen {
		d.mu.Unlock()
		select {}
	}
	op := Op{kind, path}
	if d.before != nil {
		if err := d.before(op); err != nil {
			return err
		}
	}
	if err := fn(); err != nil {
		return err
	}
	if d.after != nil {
		d.after(op)
	}
	return nil
}

// diskFS is a Disk's file system. What is embedded is not watched: paths and usage.
type diskFS struct {
	vfs.FS
	d *Disk
}

func (f diskFS) file(kind Kind, name string, open func() (vfs.File, error)) (vfs.File, error) {
	var file vfs.File
	err := f.d.do(kind, name, func() (err error) {
		file, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	return diskFile{file, f.d, name}, nil
}

func (f diskFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.file(Create, name, func() (vfs.File, error) { return f.FS.Create(name, c) })
}

func (f diskFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.file(Open, name, func() (vfs.File, error) { return f.FS.Open(name, opts...) })
}

func (f diskFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	kind := Open
	if _, err := f.FS.Stat(name); errors.Is(err, os.ErrNotExist) {
		kind = Create
	}
	return f.file(kind, name, func() (vfs.File, error) { return f.FS.OpenReadWrite(name, c, opts...) })
}

func (f diskFS) OpenDir(name string) (vfs.File, error) {
	return f.file(Open, name, func() (vfs.File, error) { return f.FS.OpenDir(name) })
}

func (f diskFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.file(Rename, name, func() (vfs.File, error) { return f.FS.ReuseForWrite(old, name, c) })
}

func (f diskFS) Link(old, name string) error {
	return f.d.do(Link, name, func() error { return f.FS.Link(old, name) })
}

func (f diskFS) Rename(old, name string) error {
	return f.d.do(Rename, name, func() error { return f.FS.Rename(old, name) })
}

func (f diskFS) Remove(name string) error {
	return f.d.do(Remove, name, func() error { return f.FS.Remove(name) })
}

// RemoveAll goes from name to name, as a system does, which may be interrupted.
func (f diskFS) RemoveAll(name string) error {
	info, err := f.FS.Stat(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		names, err := f.List(name)
		if err != nil {
			return err
		}
		for _, n := range names {
			if err := f.RemoveAll(f.PathJoin(name, n)); err != nil {
				return err
			}
		}
	}
	return f.Remove(name)
}

func (f diskFS) MkdirAll(name string, perm os.FileMode) error {
	return f.d.do(Mkdir, name, func() error { return f.FS.MkdirAll(name, perm) })
}

func (f diskFS) Lock(name string) (c io.Closer, err error) {
	err = f.d.do(Lock, name, func() (err error) {
		c, err = f.FS.Lock(name)
		return err
	})
	return c, err
}

func (f diskFS) List(name string) (names []string, err error) {
	err = f.d.do(List, name, func() (err error) {
		names, err = f.FS.List(name)
		return err
	})
	return names, err
}

func (f diskFS) Stat(name string) (info vfs.FileInfo, err error) {
	err = f.d.do(Stat, name, func() (err error) {
		info, err = f.FS.Stat(name)
		return err
	})
	return info, err
}

func (f diskFS) Unwrap() vfs.FS { return f.FS }

// diskFile is an open file or directory of a Disk.
type diskFile struct {
	vfs.File
	d    *Disk
	path string
}

func (f diskFile) count(kind Kind, fn func() (int, error)) (n int, err error) {
	err = f.d.do(kind, f.path, func() (err error) {
		n, err = fn()
		return err
	})
	return n, err
}

func (f diskFile) Read(p []byte) (int, error) {
	return f.count(Read, func() (int, error) { return f.File.Read(p) })
}

func (f diskFile) ReadAt(p []byte, off int64) (int, error) {
	return f.count(Read, func() (int, error) { return f.File.ReadAt(p, off) })
}

func (f diskFile) Write(p []byte) (int, error) {
	return f.count(Write, func() (int, error) { return f.File.Write(p) })
}

func (f diskFile) WriteAt(p []byte, off int64) (int, error) {
	return f.count(Write, func() (int, error) { return f.File.WriteAt(p, off) })
}

func (f diskFile) Sync() error     { return f.d.do(Sync, f.path, f.File.Sync) }
func (f diskFile) SyncData() error { return f.d.do(SyncData, f.path, f.File.SyncData) }
func (f diskFile) Close() error    { return f.d.do(Close, f.path, f.File.Close) }

func (f diskFile) SyncTo(length int64) (full bool, err error) {
	err = f.d.do(SyncData, f.path, func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}
