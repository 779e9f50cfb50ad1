package main

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/store"
)

func newInspect() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "inspect DIR",
		Short: "show what a storage directory holds",
		Long: `Show format, family and encoding, the published state, a sync in progress and
the disk space of a storage directory of a server or a client that no process holds.`,
		Example: `  proofsync inspect ./data
  proofsync inspect --output json ./data | jq .root`,
		Args: exactly("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := inspect(args[0])
			if err != nil {
				return err
			}
			if out.json {
				return printJSON(cmd.OutOrStdout(), r)
			}
			return r.print(newTable(cmd.OutOrStdout()))
		},
	}
	out.register(cmd, "what is printed, as one document")
	return cmd
}

// inspection is what inspect prints.
type inspection struct {
	Directory  string `json:"directory"`
	Format     int    `json:"format"`
	Family     string `json:"family"`
	Encoding   string `json:"encoding"`
	Generation uint64 `json:"generation"` // 0: none in use yet
	Epoch      uint64 `json:"epoch"`

	Published *published `json:"published,omitempty"`
	Sync      *progress  `json:"sync_in_progress,omitempty"`
	Disk      *disk      `json:"disk,omitempty"`
}

// published is the state that readers see.
type published struct {
	Size     uint64     `json:"size"`
	Start    uint64     `json:"start"`
	Floor    uint64     `json:"floor"`
	Root     mmr.Digest `json:"root"`
	Metadata *string    `json:"commit_metadata_base64,omitempty"` // of the last commit
	Unpruned *uint64    `json:"unpruned,omitempty"`               // from here on operations below the start are still on disk
}

// progress is what a replica has stored beyond what is published.
type progress struct {
	NewGeneration bool   `json:"new_generation"`
	Start         uint64 `json:"start"`
	Stored        uint64 `json:"stored"` // verified and stored up to here
}

// disk is the estimated space in bytes of the generation in use.
type disk struct {
	Operations uint64 `json:"operations"`
	Digests    uint64 `json:"digests"`
	Index      uint64 `json:"index"`
	Total      uint64 `json:"total"`
}

func inspect(path string) (r inspection, err error) {
	codec, err := database.Detect(path, nil)
	if err != nil {
		return r, err
	}
	r = inspection{
		Directory: path, Format: database.FormatVersion,
		Family: codec.Family().String(), Encoding: codec.Encoding().String(),
	}
	return r, r.read(path, codec)
}

func (r *inspection) read(path string, codec operation.Codec) (err error) {
	db, err := database.Open(path, database.Options{Codec: codec, ReadOnly: true})
	if locked, ok := errors.AsType[*store.LockedError](err); ok {
		return fmt.Errorf("%w (proofsync status -d asks it)", locked)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	r.Epoch = db.Epoch()
	loads := db.Loads()
	switch {
	case loads.Staged:
		r.Sync = &progress{NewGeneration: true, Start: loads.StagedStart, Stored: loads.StagedEnd}
	case loads.Published && loads.Stored > loads.Size:
		r.Sync = &progress{Start: loads.Size, Stored: loads.Stored}
	}
	view, err := db.View()
	if errors.Is(err, database.ErrEmpty) {
		return nil
	}
	if err != nil {
		return err
	}
	defer view.Close()
	r.Published = &published{Size: view.Size(), Start: view.Start(), Floor: view.Floor(), Root: view.Root()}
	metadata, err := view.Metadata()
	if metadata != nil {
		s := base64.StdEncoding.EncodeToString(metadata)
		r.Published.Metadata = &s
	}
	if err != nil {
		return err
	}
	pruning, err := db.Pruning()
	if err != nil {
		return err
	}
	if !pruning.Done() {
		r.Published.Unpruned = &pruning.Unpruned
	}
	r.Generation = view.Generation()
	u, err := view.Usage()
	r.Disk = &disk{Operations: u.Operations, Digests: u.Tiles, Index: u.Index, Total: u.Total}
	return err
}

func (r inspection) print(t *table) error {
	t.row("directory", r.Directory)
	t.row("format", r.Format)
	t.row("family", r.Family)
	t.row("encoding", r.Encoding)
	t.row("generation", r.Generation)
	t.rowIf(r.Epoch > 0, "epoch", r.Epoch)
	if p := r.Published; p != nil {
		t.row("size", p.Size)
		t.row("start", p.Start)
		if p.Unpruned != nil {
			t.row("pruning", fmt.Sprintf("pending: operations %d to %d are not retained, and deleted when a server or client runs", *p.Unpruned, p.Start))
		}
		t.row("floor", p.Floor)
		t.row("root", p.Root)
		metadata := "none"
		if p.Metadata != nil {
			metadata = "base64 " + *p.Metadata
		}
		t.row("metadata", metadata)
	} else {
		t.row("size", "nothing published yet")
	}
	if s := r.Sync; s != nil {
		where := "after the published operations"
		if s.NewGeneration {
			where = "in a new generation"
		}
		t.row("sync", fmt.Sprintf("in progress: operations %d to %d verified and stored, %s", s.Start, s.Stored, where))
	}
	if d := r.Disk; d != nil {
		t.row("disk", fmt.Sprintf("%s (operations %s, digests %s, index %s; without the write-ahead log's tail)",
			byteSize(d.Total), byteSize(d.Operations), byteSize(d.Digests), byteSize(d.Index)))
	}
	return t.flush()
}
