// Package importer loads files into a database: JSON Lines, CSV and directory
// trees. It is for a writer's own data; it neither serves nor syncs.
//
// # Inputs
//
//   - JSON Lines (.jsonl, .ndjson): one flat object a line, UTF-8, blank lines
//     ignored. {"key":"…","value":"…"} writes, {"key":"…","delete":true}
//     deletes. "key_base64" and "value_base64" take the place of "key" and
//     "value" for bytes that are not text (standard alphabet, padded). A field
//     of another name, a name given twice or a value of another type is an error.
//   - CSV (.csv): the first record is a header of the same names in any order:
//     one of key and key_base64, one of value and value_base64, and delete if
//     wanted (true, false or empty). Quoting is RFC 4180's; a line break inside
//     quotes is read as a single newline, as encoding/csv does it.
//   - A directory: every regular file below it is a record, its path relative
//     to the directory (with slashes) the key, its content the value. Files are
//     taken in the order of their names; symbolic links and other special
//     files are skipped and counted.
//
// A name that ends in .gz is decompressed. "-" is standard input, JSON Lines
// unless Options.Format says CSV; like any input that cannot be read twice it
// is first copied to a temporary file.
//
// # What is stored
//
// In the encoding variable keys and values are stored as they are. In the
// encoding fixed, where both have 32 bytes, the SHA-256 of a key or value is
// stored instead, with one exception: a base64 field of exactly 32 bytes goes
// in as it is. File contents are always hashed there.
//
// # How
//
//	inputs -> Prepare: every record is parsed and checked, duplicate keys are found
//	       -> Apply:   records differing from the database -> batches -> commits
//
// Nothing is written unless the whole input is valid: the first broken record
// ends the import with an [InputError]. Preparing needs no database, only its
// family and encoding, so that a broken input does not leave a new one behind.
// Memory is bounded whatever the size of
// the input; Prepare spills what it remembers of keys to a temporary file.
// Batches are commits, several of which take effect together: a crash leaves whole
// ones, and importing the same input again writes only what is missing. If a key occurs several times in
// an any import its last record counts and the others are ignored. In an
// immutable one the repetitions must agree, and a key the database already has
// is left alone (Result.Conflicts counts those with another value there).
package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
)

// DefaultBatchSize is the number of writes in a commit unless Options say otherwise.
const DefaultBatchSize = 10_000

// MaxBytes ends a batch early, and a group of them, in bytes of keys and values, so
// that large values do not pile up in memory.
const MaxBytes = 16 << 20

// Options of an import.
type Options struct {
	// Paths of files and directories, imported in this order as one input.
	// "-" is standard input, once at most.
	Paths []string
	// Stdin is read for "-"; nil refuses "-".
	Stdin io.Reader
	// Format of all files: "jsonl" or "csv"; empty goes by the name.
	// Directories are directories whatever it says.
	Format string
	// BatchSize is the most writes in one commit; 0 is DefaultBatchSize.
	BatchSize int
	// FloorPolicy says how an immutable log's floor follows; the any family
	// has a rule of its own and ignores it.
	FloorPolicy database.FloorPolicy
	// TempDir takes the temporary files; empty is the system's.
	TempDir string
	// Logger gets progress every five seconds and a line for each pass; nil discards.
	Logger *slog.Logger
}

// Validate names the option that is out of range.
func (o Options) Validate() error {
	if len(o.Paths) == 0 {
		return errors.New("nothing to import: no path given")
	}
	if o.BatchSize < 0 {
		return fmt.Errorf("batch size %d: at least 1 expected", o.BatchSize)
	}
	stdin := 0
	for _, p := range o.Paths {
		if p == "" {
			return errors.New("path \"\": a file, a directory or - expected")
		}
		if p == "-" {
			stdin++
		}
	}
	if stdin > 1 {
		return errors.New("standard input (-) can be imported once only")
	}
	if stdin == 1 && o.Stdin == nil {
		return errors.New("standard input (-) is not available here")
	}
	_, err := ParseFormat(o.Format)
	return err
}

// Result says what became of the records of an import. Records is the sum of
// Written, Deleted, Unchanged, Absent, Conflicts and Duplicates.
type Result struct {
	Records    int64 `json:"records"`    // in all inputs
	Written    int64 `json:"written"`    // keys given a new value
	Deleted    int64 `json:"deleted"`    // keys removed
	Unchanged  int64 `json:"unchanged"`  // already there with this value
	Absent     int64 `json:"absent"`     // to be deleted, but not there
	Conflicts  int64 `json:"conflicts"`  // immutable: already there with another value, left alone
	Duplicates int64 `json:"duplicates"` // repeated in the input: a later record (any) or the first (immutable) counts
	Skipped    int64 `json:"skipped"`    // links and special files in directories, not records
	Batches    int64 `json:"batches"`    // commits made
	Bytes      int64 `json:"bytes"`      // of keys and values written, as stored

	// Commit is the newest commit made by the import, zero if Batches is 0.
	Commit   database.Commit `json:"-"`
	Duration time.Duration   `json:"-"`
}

// Run is Prepare and Apply for a database that exists. Its errors are theirs.
func Run(ctx context.Context, db *database.DB, o Options) (Result, error) {
	p, err := Prepare(ctx, db.Codec(), o)
	if err != nil {
		return Result{}, err
	}
	defer p.Close()
	return p.Apply(ctx, db)
}

// validate is the first pass: it fills in the counts that the input alone
// decides and returns the ordinals of the records that do not count.
func validate(ctx context.Context, inputs []input, conv *converter, o Options, result *Result) (*bitmap, error) {
	keys := newKeyLog(o.TempDir)
	defer keys.close()
	progress := newProgress(o.Logger, "validating import", 0)
	var firsts []int64 // ordinal of the first record of each input
	for _, in := range inputs {
		firsts = append(firsts, result.Records)
		err := in.records(ctx, func(r *record) error {
			w, err := conv.write(r)
			if err != nil {
				return &InputError{File: r.file, Line: r.line, Reason: err.Error()}
			}
			result.Records++
			progress.add(1)
			return keys.add(w)
		})
		if err != nil {
			return nil, err
		}
		result.Skipped += in.skipped()
	}
	superseded, conflict, err := keys.resolve(conv.codec.Family() == operation.Immutable)
	if err != nil {
		return nil, err
	}
	if conflict >= 0 {
		return nil, conflictAt(ctx, inputs, firsts, conflict)
	}
	result.Duplicates = superseded.count
	return superseded, nil
}

// conflictAt finds file and line of the record that contradicts an earlier one.
func conflictAt(ctx context.Context, inputs []input, firsts []int64, ordinal int64) error {
	at := len(firsts) - 1
	for firsts[at] > ordinal {
		at--
	}
	found := errors.New("found")
	before := ordinal - firsts[at] // records of this input before the one looked for
	var where *InputError
	err := inputs[at].records(ctx, func(r *record) error {
		if before--; before >= 0 {
			return nil
		}
		where = &InputError{File: r.file, Line: r.line, Reason: "the key occurs before with another value; an immutable key has one"}
		return found
	})
	if err != nil && !errors.Is(err, found) {
		return err
	}
	if where == nil {
		return &InputError{File: inputs[at].name(), Reason: "changed while it was read"}
	}
	return where
}
