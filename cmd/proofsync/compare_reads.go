package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/remote"
	"github.com/proofsync/proofsync/pkg/verify"
)

// readPause is how long a process that has not got as far as we have is left alone.
const readPause = 200 * time.Millisecond

// compareReads reads a key of the view from every address, with a proof under
// the view's own root, and compares what comes back with what the view holds.
// A process that does not answer, or is not as new as the view, is asked again
// until wait has passed.
func compareReads(cmd *cobra.Command, secure *certificates, view *database.View, addresses []string, wait time.Duration) error {
	w := cmd.OutOrStdout()
	if len(addresses) == 0 {
		return nil
	}
	var key []byte
	var own database.Entry
	err := view.Scan(nil, nil, func(k []byte, e database.Entry) bool {
		key, own = bytes.Clone(k), e
		return false
	})
	if err != nil {
		return err
	}
	if key == nil {
		fmt.Fprintln(w, "no key has a value, so none was read")
		return nil
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), wait)
	defer cancel()
	for _, address := range addresses {
		o := remote.Options{}
		if o.TLS, err = secure.config(cmd, address); err != nil {
			return err
		}
		if err := compareRead(ctx, view, key, own, address, o); err != nil {
			return fmt.Errorf("key %x read from %s: %w", key, address, err)
		}
		fmt.Fprintf(w, "%s: key %x has our value, proven under our root at %d operations\n", address, key, view.Size())
	}
	return nil
}

func compareRead(ctx context.Context, view *database.View, key []byte, own database.Entry, address string, ro remote.Options) error {
	c, err := remote.New(address, ro)
	if errors.Is(err, remote.ErrURL) {
		return usagef("--read: %w", err)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	o := remote.GetOptions{Trusted: &verify.Root{
		Root: view.Root(), Size: view.Size(), Family: view.Codec().Family().String(), Encoding: view.Codec().Encoding().String(),
	}}
	for {
		e, err := c.Get(ctx, key, o)
		switch {
		case err == nil:
			value, err := c.Decode(*e.Value)
			if err != nil {
				return err
			}
			if !bytes.Equal(value, own.Value) || e.Location != own.Location {
				return fmt.Errorf("%.100x at location %d, our value is %.100x at location %d", value, e.Location, own.Value, own.Location)
			}
			return nil
		case !worthWaiting(err):
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(readPause):
		}
	}
}

// worthWaiting: the process is not there, or not there yet. What it says of a
// state it has will not change.
func worthWaiting(err error) bool {
	if errors.Is(err, verify.ErrProof) {
		return false
	}
	if p, ok := errors.AsType[*document.Problem](err); ok {
		switch p.Code {
		case document.CodeBeyond, document.CodeEmpty, document.CodeUnavailable, document.CodeTooMany, document.CodeTimeout:
			return true
		}
		return false
	}
	return true
}
