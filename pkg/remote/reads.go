package remote

import (
	"context"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"net/url"

	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/verify"
)

// Status says what the process is and how it fares.
func (c *Client) Status(ctx context.Context) (*document.Status, error) {
	s := new(document.Status)
	if err := c.get(ctx, "/v1/status", s); err != nil {
		return nil, err
	}
	return s, nil
}

// maxNote bounds a checkpoint, in bytes.
const maxNote = 64 << 10

// Checkpoint reads the newest signed checkpoint that so many parties have signed,
// at least one: a signed note, of which nothing was checked. That there is none is
// a *document.Problem of the code no_checkpoint.
func (c *Client) Checkpoint(ctx context.Context, parties int) ([]byte, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	p := c.parameters()
	p.Values = make(url.Values) // nothing in it is written in another form
	if parties > 1 {
		p.number("signatures", uint64(parties))
	}
	path, err := p.path("/v1/checkpoint")
	if err != nil {
		return nil, err
	}
	req, err := c.request(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/plain, "+document.ProblemType)
	resp, err := c.send(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxNote+1))
	if err != nil {
		return nil, fmt.Errorf("%s: answer broken off: %w", c.name, err)
	}
	if len(body) > maxNote {
		return nil, fmt.Errorf("%s: %w: more than %d bytes", c.name, ErrTooLarge, maxNote)
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "text/plain" {
		return nil, fmt.Errorf("%s: %w: of type %.80q: %s", c.name, ErrAnswer, kind, snippet(body))
	}
	return body, nil
}

// GetOptions say how a key is read.
type GetOptions struct {
	Proof  bool   // with what a third party needs to check the answer
	AtSize uint64 // at the commit of this size; 0: the newest state
	// Trusted is a root that was learned elsewhere, with family and encoding of
	// its log, without which it is refused. The key is read at its size, with a
	// proof, which is checked: an answer that does not fit is a *verify.Error. What that shows, and what it does not, is said by
	// pkg/verify. nil: the answer is believed.
	Trusted *verify.Root
}

// Get reads a key as it is stored. That it has no value is a *document.Problem
// of the code key_not_found, which names the root that was read under.
func (c *Client) Get(ctx context.Context, key []byte, o GetOptions) (*document.Entry, error) {
	if o.Trusted != nil {
		if err := o.Trusted.Check(); err != nil {
			return nil, err
		}
		o.Proof, o.AtSize = true, o.Trusted.Size
	}
	p := c.parameters()
	text, err := p.form.Encode(key)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	p.flag("proof", o.Proof)
	p.number("at_size", o.AtSize)
	path, err := p.path("/v1/keys/" + url.PathEscape(text))
	if err != nil {
		return nil, err
	}
	e := new(document.Entry)
	if err := c.get(ctx, path, e); err != nil {
		return nil, err
	}
	if err := c.checkForm(e.Bytes); err != nil {
		return nil, err
	}
	if e.Key != text || e.Value == nil || e.Head == nil {
		return nil, fmt.Errorf("%s: %w: no entry of the key asked for", c.name, ErrAnswer)
	}
	if o.Trusted != nil {
		if _, err := verify.Entry(e, *o.Trusted); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return e, nil
}

// ListOptions say which keys are listed and how.
type ListOptions struct {
	Prefix []byte // keys that begin like this; nil: all
	After  []byte // keys greater than this one; nil: from the first
	Values bool   // with their values
	AtSize uint64 // at the commit of this size; 0: the newest state
	Limit  int    // keys in a page at most; 0: the server's choice
}

// Page reads one page of the live keys in bytewise order.
func (c *Client) Page(ctx context.Context, o ListOptions) (*document.Page, error) {
	path, err := c.listPath(o)
	if err != nil {
		return nil, err
	}
	return c.page(ctx, path)
}

func (c *Client) listPath(o ListOptions) (string, error) {
	p := c.parameters()
	p.bytes("prefix", o.Prefix)
	p.bytes("after", o.After)
	p.number("at_size", o.AtSize)
	p.number("limit", uint64(max(o.Limit, 0)))
	p.flag("values", o.Values)
	return p.path("/v1/keys")
}

func (c *Client) page(ctx context.Context, path string) (*document.Page, error) {
	page := new(document.Page)
	if err := c.get(ctx, path, page); err != nil {
		return nil, err
	}
	return page, c.checkForm(page.Bytes)
}

// List iterates over the live keys in bytewise order, page by page, all under
// one root: Bytes and Head of every entry are set. An error ends it; one of the
// code gone says that the state was dropped while it was being listed.
func (c *Client) List(ctx context.Context, o ListOptions) iter.Seq2[*document.Entry, error] {
	path, err := c.listPath(o)
	var root string
	return pages(ctx, path, err, c.ascending("/v1/keys", "after"), func(ctx context.Context, path string) ([]document.Entry, string, error) {
		page, err := c.page(ctx, path)
		if err != nil {
			return nil, "", err
		}
		if root == "" {
			root = page.Root
		}
		if page.Root != root {
			return nil, "", fmt.Errorf("%s: %w: pages of one listing are under the roots %.16s and %.16s", c.name, ErrAnswer, root, page.Root)
		}
		for i := range page.Keys {
			page.Keys[i].Bytes, page.Keys[i].Head = page.Bytes, &page.Head
		}
		return page.Keys, page.Next, nil
	})
}

// OperationsOptions say which part of the log is read.
type OperationsOptions struct {
	Start  uint64 // first location; 0: the first retained one
	AtSize uint64 // of the log as it was at the commit of this size; 0: as it is
	Limit  int    // operations in a page at most; 0: the server's choice
	Proof  bool   // pages carry a proof of their operations together
}

// OperationsPage reads one page of the log.
func (c *Client) OperationsPage(ctx context.Context, o OperationsOptions) (*document.Operations, error) {
	path, err := c.operationsPath(o)
	if err != nil {
		return nil, err
	}
	return c.operations(ctx, path)
}

func (c *Client) operationsPath(o OperationsOptions) (string, error) {
	p := c.parameters()
	p.number("start", o.Start)
	p.number("at_size", o.AtSize)
	p.number("limit", uint64(max(o.Limit, 0)))
	p.flag("proof", o.Proof)
	return p.path("/v1/operations")
}

func (c *Client) operations(ctx context.Context, path string) (*document.Operations, error) {
	page := new(document.Operations)
	if err := c.get(ctx, path, page); err != nil {
		return nil, err
	}
	return page, c.checkForm(page.Bytes)
}

// Operations iterates over the log from a location to its end, in order. An
// error ends it. Byte strings are read by Decode.
func (c *Client) Operations(ctx context.Context, o OperationsOptions) iter.Seq2[*document.Operation, error] {
	path, err := c.operationsPath(o)
	return pages(ctx, path, err, rising("/v1/operations", "start"), func(ctx context.Context, path string) ([]document.Operation, string, error) {
		page, err := c.operations(ctx, path)
		if err != nil {
			return nil, "", err
		}
		return page.Operations, page.Next, nil
	})
}

// CommitsOptions say which commits are read.
type CommitsOptions struct {
	Before uint64 // commits of less than this size; 0: from the newest on
	Limit  int    // commits in a page at most; 0: the server's choice
}

// CommitsPage reads one page of the retained commits, newest first.
func (c *Client) CommitsPage(ctx context.Context, o CommitsOptions) (*document.Commits, error) {
	path, err := c.commitsPath(o)
	if err != nil {
		return nil, err
	}
	return c.commits(ctx, path)
}

func (c *Client) commitsPath(o CommitsOptions) (string, error) {
	p := c.parameters()
	p.number("before", o.Before)
	p.number("limit", uint64(max(o.Limit, 0)))
	return p.path("/v1/commits")
}

func (c *Client) commits(ctx context.Context, path string) (*document.Commits, error) {
	page := new(document.Commits)
	if err := c.get(ctx, path, page); err != nil {
		return nil, err
	}
	return page, c.checkForm(page.Bytes)
}

// Commits iterates over the retained commits, newest first. An error ends it.
func (c *Client) Commits(ctx context.Context, o CommitsOptions) iter.Seq2[*document.Commit, error] {
	path, err := c.commitsPath(o)
	return pages(ctx, path, err, falling("/v1/commits", "before"), func(ctx context.Context, path string) ([]document.Commit, string, error) {
		page, err := c.commits(ctx, path)
		if err != nil {
			return nil, "", err
		}
		return page.Commits, page.Next, nil
	})
}
