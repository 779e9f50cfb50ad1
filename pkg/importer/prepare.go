package importer

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
)

// Prepared is an input that has been checked in full for one family and
// encoding. It holds files open until Close.
type Prepared struct {
	options    Options
	inputs     []input
	conv       *converter
	superseded *bitmap // ordinals of the records that do not count
	counts     Result  // what the input alone decides
	took       time.Duration
}

// Prepare reads and checks all paths as one input for databases of the codec,
// none of which has to exist yet. Errors are *InputError for a record or file
// that is not as the package describes, those of Options.Validate, and those of
// the file system. ctx ends the reading; Apply has its own.
func Prepare(ctx context.Context, codec operation.Codec, o Options) (*Prepared, error) {
	began := time.Now()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.BatchSize == 0 {
		o.BatchSize = DefaultBatchSize
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	conv, err := newConverter(codec)
	if err != nil {
		return nil, err
	}
	p := &Prepared{options: o, conv: conv}
	if p.inputs, err = openInputs(ctx, o, codec); err == nil {
		p.superseded, err = validate(ctx, p.inputs, conv, o, &p.counts)
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	o.Logger.Info("import validated", "inputs", len(p.inputs), "records", p.counts.Records, "duplicates", p.counts.Duplicates)
	p.took = time.Since(began)
	return p, nil
}

// Apply commits what differs from the database, which has to be of the codec
// that the input was prepared for. It may be called again; there is nothing left
// to commit then. Errors are those of the database and the file system, and
// *InputError if a file has changed since it was checked. After one the batches
// committed so far stay, and the result counts them.
func (p *Prepared) Apply(ctx context.Context, db *database.DB) (Result, error) {
	began := time.Now()
	result := p.counts
	if db.Codec() != p.conv.codec {
		return result, fmt.Errorf("the input was checked for a database of %s, this one is of %s", p.conv.codec, db.Codec())
	}
	log := p.options.Logger
	a := &applier{db: db, options: p.options, result: &result, progress: newProgress(log, "importing", result.Records)}
	err := a.run(ctx, p.inputs, p.conv, p.superseded)
	result.Duration = p.took + time.Since(began)
	if err != nil {
		return result, err
	}
	log.Info("import completed", "records", result.Records, "written", result.Written, "deleted", result.Deleted,
		"unchanged", result.Unchanged, "absent", result.Absent, "conflicts", result.Conflicts, "duplicates", result.Duplicates,
		"batches", result.Batches, "duration", result.Duration.Round(time.Millisecond))
	return result, nil
}

// Close releases the files. It is needed once, after Apply or instead of it.
func (p *Prepared) Close() {
	for _, in := range p.inputs {
		in.close()
	}
}
