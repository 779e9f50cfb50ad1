package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/remote"
)

// write are the flags of put and delete.
type write struct {
	at     access
	out    output
	keys   notation
	values notation // of put; of delete --if-value alone

	valueFile      string
	ifAbsent       bool
	ifValue        string
	ifLocation     uint64
	ifRoot         string
	metadata       string
	floor          uint64
	idempotencyKey string
}

func (w *write) register(cmd *cobra.Command) {
	w.at.register(cmd)
	w.keys.register(cmd, "", "KEY")
	f := cmd.Flags()
	f.StringVar(&w.ifValue, "if-value", "", "only if the key has this value")
	f.Uint64Var(&w.ifLocation, "if-location", 0, "only if the key's value was written at this location, as get prints it")
	f.StringVar(&w.ifRoot, "if-root", "", "only if the root of the database is this one")
	f.StringVar(&w.metadata, "metadata", "", "text that the commit carries")
	f.StringVar(&w.idempotencyKey, "idempotency-key", "", "name of these writes: if the server has done them already, it says so and does nothing; a random one if not given")
	w.out.register(cmd, "the answer as the API gives it")
}

func newPut() *cobra.Command {
	w := new(write)
	cmd := &cobra.Command{
		Use:   "put (--url URL | --storage-dir DIR) KEY VALUE [KEY VALUE]...",
		Short: "write keys",
		Long: `Write keys in one commit: all of them, or none if a condition does not hold. It
ends when they are durable. A server takes writes over the network if it was
given a token, and through the socket in its storage directory from the user it
runs as; a storage directory that no process holds is written directly.

A VALUE "-" is read from standard input, and --value-file reads the value of one
KEY from a file. Keys and values are stored as import does: in the encoding
fixed as their SHA-256, unless they are 32 bytes given by --hex and --value-hex,
or --base64 and --value-base64.

Keys of a database of the family immutable can be written once.`,
		Example: `  proofsync put -u http://127.0.0.1:8081 --token-file token alice Engineer bob Doctor
  proofsync put -d ./data --if-absent lock "$HOSTNAME"
  proofsync put -d ./data --if-value Engineer alice Director
  proofsync put -d ./docs --value-file manual.pdf docs/manual
  date | proofsync put -d ./data now -`,
		Args: func(cmd *cobra.Command, args []string) error {
			fromFile := cmd.Flags().Changed("value-file")
			switch {
			case len(args) == 0:
				return usagef("argument KEY is missing (see %s --help)", cmd.CommandPath())
			case fromFile && len(args) > 1:
				return usagef("unexpected argument %q: --value-file is the value of one KEY", args[1])
			case !fromFile && len(args)%2 != 0:
				return usagef("argument VALUE of %.80q is missing (see %s --help)", args[len(args)-1], cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("value-file") {
				v, err := w.readValue(cmd, w.valueFile)
				if err != nil {
					return err
				}
				return w.run(cmd, args, []text{v})
			}
			var keys []string
			var values []text
			piped := false
			for i := 0; i < len(args); i += 2 {
				var v text
				var err error
				switch {
				case args[i+1] != "-":
					v, err = w.values.parse("VALUE", args[i+1])
				case piped:
					return usagef("standard input can be one VALUE only")
				default:
					piped = true
					v, err = w.readValue(cmd, "-")
				}
				if err != nil {
					return err
				}
				keys, values = append(keys, args[i]), append(values, v)
			}
			return w.run(cmd, keys, values)
		},
	}
	w.register(cmd)
	w.values.register(cmd, "value-", "VALUE, of a file and --if-value too,")
	f := cmd.Flags()
	f.StringVar(&w.valueFile, "value-file", "", `file whose bytes are the value; "-" is standard input`)
	f.BoolVar(&w.ifAbsent, "if-absent", false, "only if none of the keys has a value")
	f.Uint64Var(&w.floor, "floor", 0, "new inactivity floor of a database of the family immutable")
	return cmd
}

func newDelete() *cobra.Command {
	w := new(write)
	cmd := &cobra.Command{
		Use:   "delete (--url URL | --storage-dir DIR) KEY...",
		Short: "delete keys",
		Long: `Delete keys in one commit: all of them, or none if a condition does not hold.
Where and how it may be done, and how keys are found, is as for put. Keys of a
database of the family immutable cannot be deleted.`,
		Example: `  proofsync delete -u http://127.0.0.1:8081 --token-file token alice bob
  proofsync delete -d ./data --if-value Engineer alice`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("argument KEY is missing (see %s --help)", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return w.run(cmd, args, nil) },
	}
	w.register(cmd)
	w.values.register(cmd, "value-", "--if-value")
	return cmd
}

// maxValue bounds what is read as a value: no operation is larger.
const maxValue = operation.MaxOperation

// readValue reads one from a file, or standard input. A line's end belongs to
// it, unless it is written as --value-hex or --value-base64.
func (w *write) readValue(cmd *cobra.Command, path string) (text, error) {
	var in io.Reader
	if path == "-" {
		in = interruptible(cmd.Context(), cmd.InOrStdin())
	} else {
		f, err := os.Open(path)
		if err != nil {
			return text{}, err
		}
		defer f.Close()
		in = f
	}
	most := int64(maxValue)
	if w.values.isHex || w.values.isB64 {
		most *= 3
	}
	b, err := io.ReadAll(io.LimitReader(in, most+1))
	switch {
	case err != nil:
		return text{}, err
	case int64(len(b)) > most:
		return text{}, fmt.Errorf("%s: longer than %d bytes, which no value may be", path, most)
	case most > maxValue:
		b = bytes.TrimSpace(b)
	}
	return w.values.parse("VALUE", string(b))
}

// run writes the keys; nil values delete them.
func (w *write) run(cmd *cobra.Command, names []string, values []text) error {
	flags := cmd.Flags()
	conditions := 0
	for _, name := range []string{"if-absent", "if-value", "if-location"} {
		if !flags.Changed(name) {
			continue
		}
		if conditions++; name != "if-absent" && len(names) > 1 {
			return usagef("--%s is about one KEY, not %d", name, len(names))
		}
	}
	if conditions > 1 {
		return usagef("--if-absent, --if-value and --if-location exclude each other")
	}
	keys := make([]text, len(names))
	for i, name := range names {
		var err error
		if keys[i], err = w.keys.parse("KEY", name); err != nil {
			return err
		}
	}
	condition, err := w.values.parse("--if-value", w.ifValue)
	if err != nil {
		return err
	}
	return w.at.with(cmd, writing, func(ctx context.Context, s *session) error {
		b := remote.Batch{IfRoot: w.ifRoot, IdempotencyKey: w.idempotencyKey}
		if flags.Changed("metadata") {
			b.Metadata = []byte(w.metadata)
		}
		if flags.Changed("floor") {
			b.Floor = &w.floor
		}
		for i, key := range keys {
			x := remote.Write{Delete: values == nil, IfAbsent: w.ifAbsent}
			var err error
			if x.Key, err = s.stored(ctx, key); err != nil {
				return err
			}
			if values != nil {
				if x.Value, err = s.stored(ctx, values[i]); err != nil {
					return err
				}
			}
			if flags.Changed("if-value") {
				if x.IfValue, err = s.stored(ctx, condition); err != nil {
					return err
				}
				x.IfValue = append([]byte{}, x.IfValue...) // nil is no condition
			}
			if flags.Changed("if-location") {
				x.IfLocation = &w.ifLocation
			}
			b.Writes = append(b.Writes, x)
		}
		done, err := s.Apply(ctx, b)
		if p, ok := errors.AsType[*document.Problem](err); ok && p.Key != "" {
			return fmt.Errorf("key %s: %w", s.show(p.Key), err)
		}
		if err != nil {
			return err
		}
		if w.out.json {
			return printJSON(cmd.OutOrStdout(), done)
		}
		t := newTable(cmd.OutOrStdout())
		what := "written"
		if values == nil {
			what = "deleted"
		}
		t.row(what, fmt.Sprintf("%d", done.Writes))
		t.rowIf(done.Replayed, "note", "the server knew the idempotency key: this was done before")
		t.row("location", done.Location)
		t.row("size", done.Size)
		t.row("root", done.Root)
		return t.flush()
	})
}
