package storetest

import (
	"errors"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/proofsync/proofsync/pkg/store"
)

// NoLinks is fs without hard links.
func NoLinks(fs store.FS) store.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpLink {
			return errors.New("no links here")
		}
		return nil
	}))
}

// FailAt is fs on which what fn says fails, by the path of a write.
func FailAt(fs store.FS, fn func(path string) error) store.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return fn(op.Path)
		}
		return nil
	}))
}
