package main

import (
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

// storageFlag adds --storage-dir as server and client have it; --dir is short for it.
func storageFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVarP(dir, "storage-dir", "d", "", "storage directory of the database; required")
	cmd.Flags().SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "dir" {
			name = "storage-dir"
		}
		return pflag.NormalizedName(name)
	})
	fromEnvironment(cmd, "storage-dir")
	// It fails for a flag that does not exist only.
	_ = cmd.MarkFlagDirname("storage-dir")
}

func requireStorage(dir string) error {
	if dir == "" {
		return usagef("--storage-dir is missing: the directory of the database expected, here or in %s", variable("storage-dir"))
	}
	return nil
}

// codecFlags are --db and --encoding. They say what to make; of a directory
// that exists they are checked if given, on the command line or by variable.
type codecFlags struct{ family, encoding string }

func (f *codecFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.family, "db", "any", "family of a new database: any or immutable")
	cmd.Flags().StringVar(&f.encoding, "encoding", "fixed", "encoding of a new database: fixed (32-byte keys and values) or variable")
	complete(cmd, "db", "any", "immutable")
	complete(cmd, "encoding", "fixed", "variable")
	fromEnvironment(cmd, "db", "encoding")
}

func (f *codecFlags) codec(cmd *cobra.Command) (operation.Codec, error) {
	family, err := operation.ParseFamily(f.family)
	if err != nil {
		return operation.Codec{}, usagef("%s: %w", origin(cmd, "db"), err)
	}
	encoding, err := operation.ParseEncoding(f.encoding)
	if err != nil {
		return operation.Codec{}, usagef("%s: %w", origin(cmd, "encoding"), err)
	}
	return operation.NewCodec(family, encoding), nil
}

// resolve returns the codec to open dir with, and whether there is a database.
func (f *codecFlags) resolve(cmd *cobra.Command, dir string) (c operation.Codec, exists bool, err error) {
	want, err := f.codec(cmd)
	if err != nil {
		return want, false, err
	}
	held, err := database.Detect(dir, nil)
	if errors.Is(err, store.ErrNotFound) {
		return want, false, nil
	}
	if err != nil {
		return want, false, err
	}
	family, encoding := held.Family(), held.Encoding()
	if given(cmd, "db") {
		family = want.Family()
	}
	if given(cmd, "encoding") {
		encoding = want.Encoding()
	}
	// If that is not what the directory holds, opening it says so.
	return operation.NewCodec(family, encoding), true, nil
}
