package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/exporter"
	"github.com/proofsync/proofsync/pkg/operation"
)

// exportFlags are the flags of export.
type exportFlags struct {
	at     access
	out    output
	file   string
	format string
	prefix string
	begin  notation
	atSize uint64
	text   bool
}

func newExport() *cobra.Command {
	e := new(exportFlags)
	cmd := &cobra.Command{
		Use:   "export (DIR | --url URL)",
		Short: "write all keys and values as JSON Lines or CSV",
		Long: `Write the live keys with their values, in bytewise order, so that import makes a
database with the same keys and values of them. All are of one state, whatever is
written meanwhile: the newest one, or that of --at-size. The history is not in it;
for that there is backup.

JSON Lines have text where there is some, and base64 elsewhere. CSV has base64, or
with --text text, and then ends with an error at what is none. In the encoding
fixed everything is base64 of 32 bytes, which import takes as they are.

With --out, a file of that name appears when it is complete, readable by its owner
only; a name that ends in .gz is compressed. If a process holds DIR, that one is
asked.`,
		Example: `  proofsync export ./data > people.jsonl
  proofsync export ./data --out people.csv.gz
  proofsync export --url http://replica:8082 --prefix user/ --format csv --text
  proofsync export ./old | proofsync import -d ./new --encoding variable -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("unexpected argument %q (see %s --help)", args[1], cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if err := cmd.Flags().Set("storage-dir", args[0]); err != nil {
					return err
				}
			}
			return e.run(cmd)
		},
	}
	e.at.register(cmd)
	cmd.Flags().Lookup("bytes").Hidden = true // records say themselves how they are written
	e.begin.register(cmd, "", "--prefix")
	f := cmd.Flags()
	f.StringVar(&e.file, "out", "", "file to write; without one, standard output")
	f.StringVar(&e.format, "format", "", "jsonl or csv (by the name of the file; jsonl for standard output)")
	f.StringVar(&e.prefix, "prefix", "", "keys that begin like this")
	f.Uint64Var(&e.atSize, "at-size", 0, "read at the commit of this size instead of the newest state")
	f.BoolVar(&e.text, "text", false, "columns of CSV in text instead of base64")
	complete(cmd, "format", "jsonl", "csv")
	e.out.register(cmd, "of the result, with --out")
	return cmd
}

// exported is what export prints where its output is a file.
type exported struct {
	File    string  `json:"file"`
	Format  string  `json:"format"`
	Keys    uint64  `json:"keys"`
	Bytes   uint64  `json:"bytes"` // before compression
	Size    uint64  `json:"size"`  // of the log at the state that was read
	Root    string  `json:"root"`
	Seconds float64 `json:"seconds"`
}

func (e *exportFlags) run(cmd *cobra.Command) error {
	began := time.Now()
	format, err := exportFormat(e.format, e.file)
	if err != nil {
		return &usageError{err}
	}
	prefix, err := e.begin.parse("--prefix", e.prefix)
	if err != nil {
		return err
	}
	live, err := e.open(cmd)
	if err != nil {
		return err
	}
	defer live.close()
	o := exporter.Options{Format: format, Encoding: live.encoding, Text: e.text}
	if err := o.Validate(); err != nil {
		return usagef("--text: %w", err)
	}
	if len(prefix.bytes) > 0 && live.encoding == operation.Fixed && !prefix.raw {
		return usagef("--prefix %.80q: keys of the encoding fixed are digests; --hex or --base64 expected", e.prefix)
	}
	r := exported{File: e.file, Format: string(format), Size: live.size, Root: live.root}
	write := func(w io.Writer) error {
		return r.write(cmd, w, o, live, prefix.bytes)
	}
	if e.file == "" {
		return write(cmd.OutOrStdout())
	}
	if err := writeFile(e.file, write); err != nil {
		return err
	}
	r.Seconds = time.Since(began).Seconds()
	if e.out.json {
		return printJSON(cmd.OutOrStdout(), r)
	}
	t := newTable(cmd.OutOrStdout())
	t.row("file", r.File)
	t.row("keys", r.Keys)
	t.row("bytes", r.Bytes)
	t.row("size", r.Size)
	t.row("root", r.Root)
	t.row("duration", time.Since(began).Round(time.Millisecond))
	return t.flush()
}

// write writes all records, and shows how far it is.
func (r *exported) write(cmd *cobra.Command, to io.Writer, o exporter.Options, live *liveSet, prefix []byte) error {
	w, err := exporter.NewWriter(to, o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	total := live.counting(ctx, prefix)
	defer total.wait()
	defer cancel()
	m := newMeter(cmd.ErrOrStderr(), "keys")
	defer m.end()
	err = live.each(ctx, prefix, func(key, value []byte) error {
		if err := w.Write(key, value); err != nil {
			return err
		}
		if n := w.Records(); n%1024 == 0 {
			m.at("exporting", n, total.now())
		}
		return nil
	})
	if err == nil {
		err = w.Flush()
	}
	r.Keys, r.Bytes = w.Records(), w.Bytes()
	if err != nil {
		return fmt.Errorf("%w (after %d keys)", err, r.Keys)
	}
	return nil
}
