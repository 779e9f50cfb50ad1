package remote

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/proofsync/proofsync/internal/sleep"

	"github.com/proofsync/proofsync/pkg/document"
)

// Batch is what Apply writes: all of it or nothing.
type Batch struct {
	Writes   []Write
	Metadata []byte  // carried by the commit; nil: none
	IfRoot   string  // the root must be this one; empty: whatever it is
	Floor    *uint64 // new inactivity floor, of immutable databases only

	// IdempotencyKey lets the server tell a batch that arrives again from
	// another one. Empty: a random one, so that Apply may send its batch again
	// safely. A caller that wants to repeat Apply itself, after a crash say,
	// chooses it.
	IdempotencyKey string
}

// Write sets a key, or deletes it. At most one condition may be given.
type Write struct {
	Key    []byte
	Value  []byte
	Delete bool

	IfAbsent   bool    // the key has no value
	IfValue    []byte  // it has this value; nil: whatever it is
	IfLocation *uint64 // its value was written at this location
}

// Put sets a key.
func (c *Client) Put(ctx context.Context, key, value []byte) (*document.Committed, error) {
	return c.Apply(ctx, Batch{Writes: []Write{{Key: key, Value: value}}})
}

// Delete deletes a key.
func (c *Client) Delete(ctx context.Context, key []byte) (*document.Committed, error) {
	return c.Apply(ctx, Batch{Writes: []Write{{Key: key, Delete: true}}})
}

// Apply writes a batch and returns when it is durable. If the connection fails
// or the server asks for patience, the same batch is sent again with the same
// idempotency key, up to Options.Retries times: it takes effect once. After an
// error that is no *document.Problem it may have taken effect or not; applying
// it again with the same IdempotencyKey settles that.
func (c *Client) Apply(ctx context.Context, b Batch) (*document.Committed, error) {
	doc, err := b.document(c.opts.Bytes)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	key := b.IdempotencyKey
	if key == "" {
		key = rand.Text()
	}
	for try := 1; ; try++ {
		var done *document.Committed
		if done, err = c.post(ctx, body, key); err == nil {
			return done, nil
		}
		if try > c.opts.Retries || ctx.Err() != nil || !passing(err) || sleep.For(ctx, c.pause.before(try, err)) != nil {
			return nil, err
		}
	}
}

func (c *Client) post(ctx context.Context, body []byte, key string) (*document.Committed, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	req, err := c.request(ctx, http.MethodPost, "/v1/batches", body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	done := new(document.Committed)
	return done, c.exchange(req, done)
}

// document writes the batch with byte strings in the form f.
func (b *Batch) document(f document.Bytes) (*document.Batch, error) {
	var err error
	text := func(b []byte) *string {
		if b == nil {
			return nil
		}
		s, e := f.Encode(b)
		if e != nil && err == nil {
			err = e
		}
		return &s
	}
	d := &document.Batch{Bytes: f, Writes: make([]document.Write, len(b.Writes)), IfRoot: b.IfRoot, Floor: b.Floor}
	for i, w := range b.Writes {
		key, e := f.Encode(w.Key)
		if e != nil {
			return nil, fmt.Errorf("key of write %d: %w", i+1, e)
		}
		d.Writes[i] = document.Write{Key: key, Delete: w.Delete, IfAbsent: w.IfAbsent, IfValue: text(w.IfValue), IfLocation: w.IfLocation}
		if !w.Delete {
			d.Writes[i].Value = text(append([]byte{}, w.Value...)) // a nil value is an empty one
		}
		if err != nil {
			return nil, fmt.Errorf("value of write %d: %w", i+1, err)
		}
	}
	if d.Metadata = text(b.Metadata); err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	return d, nil
}
