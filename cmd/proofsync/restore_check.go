package main

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/store"
)

// check computes everything in the directory again, and notes what it holds.
func (r *restored) check(ctx context.Context, cmd *cobra.Command, dir string) (err error) {
	codec, err := database.Detect(dir, nil)
	if err != nil {
		return err
	}
	db, err := database.Open(dir, database.Options{Codec: codec, ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	v, err := db.View()
	if err != nil {
		return err
	}
	defer v.Close()
	r.Size, r.Start, r.Root, r.Epoch = v.Size(), v.Start(), v.Root(), db.Epoch()
	m := newMeter(cmd.ErrOrStderr(), "operations")
	defer m.end()
	return recompute(ctx, v, m)
}

// recompute leads from the operations to the root, and from the index to the operations.
func recompute(ctx context.Context, v *database.View, m *meter) error {
	pins, err := v.Pins(v.Start())
	if err != nil {
		return err
	}
	f, err := mmr.NewFrontier(v.Start(), pins)
	if err != nil {
		return err
	}
	const chunk = 4096
	var ops []byte
	span := new(mmr.Span)
	for at := v.Start(); at < v.Size(); {
		if err := ctx.Err(); err != nil {
			return err
		}
		var n int
		if ops, n, err = v.AppendOperations(ops[:0], at, min(at+chunk, v.Size()), 8<<20); err != nil {
			return err
		}
		run, err := v.Codec().NewRun(ops)
		if err != nil {
			return &store.CorruptError{Where: fmt.Sprintf("operations from location %d on", at), Err: err}
		}
		span.Reset(at, run)
		if err := f.Append(span, nil); err != nil {
			return err
		}
		at += uint64(n)
		m.at("checking", at-v.Start(), v.Size()-v.Start())
	}
	if root := f.Root(v.Floor()); root != v.Root() {
		return &store.CorruptError{Where: "operations", Err: fmt.Errorf("they lead to the root %s, the state says %s", root, v.Root())}
	}
	return v.PageContext(ctx, nil, nil, math.MaxInt, func([]byte, database.Entry) bool { return true })
}
