package api

import (
	"net/http"
	"strconv"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
)

const (
	// maxCommits is the largest page of commits: each one's root is computed.
	maxCommits = 1000
	// commitScan is about how many operations a request looks at for commits.
	// A page may thus be short, or empty, and have a next one all the same.
	commitScan = 256 << 10
	// commitBytes is how many bytes of metadata a page has at most, but for a
	// single larger one.
	commitBytes = 2 << 20
)

// commits answers GET /v1/commits.
func (a *API) commits(w http.ResponseWriter, r *http.Request) error {
	p, err := parseParams(r, "before", "bytes", "limit")
	if err != nil {
		return err
	}
	limit, err := p.limit(maxCommits)
	if err != nil {
		return err
	}
	before, given, err := p.number("before", 1, maxNumber+1)
	if err != nil {
		return err
	}
	held, err := a.admit.page(r.Context())
	if err != nil {
		return err
	}
	defer held.release()
	v, err := a.db.View()
	if err != nil {
		return err
	}
	defer v.Close()
	h := a.headOf(v)
	if !given || before > h.Size {
		before = h.Size + 1
	}
	if before <= h.Start {
		p := document.NewProblem(document.CodeGone, "before=%d: the log is retained from %d", before, h.Start)
		p.Head = &h.Head
		return p
	}
	doc := document.Commits{Bytes: p.form, Head: h.Head, Commits: []document.Commit{}}
	next, err := a.listCommits(&doc, v, before-1, limit)
	if err != nil {
		return a.problemOf(err, &h.Head)
	}
	if next > 0 {
		doc.Next = p.link("/v1/commits", "before", strconv.FormatUint(next+1, 10))
	}
	return respondOften(w, r, &h.Head, &doc)
}

// listCommits adds the newest commits of size at most upTo; next is the upTo of
// the next page, 0: there is none.
func (a *API) listCommits(doc *document.Commits, v *database.View, upTo uint64, limit int) (next uint64, err error) {
	var failed error
	bytes, full := 0, uint64(0)
	next, err = v.Commits(upTo, commitScan, func(c database.CommitInfo) bool {
		if bytes += len(c.Metadata); len(doc.Commits) == limit || bytes > commitBytes && len(doc.Commits) > 0 {
			full = c.Size
			return false
		}
		var d document.Commit
		d, failed = a.describe(doc.Bytes, v, c)
		doc.Commits = append(doc.Commits, d)
		return failed == nil
	})
	if full > 0 {
		next = full // the one that found no room comes first
	}
	if failed != nil {
		err = failed
	}
	return next, err
}

func (a *API) describe(f document.Bytes, v *database.View, c database.CommitInfo) (document.Commit, error) {
	root, err := v.RootAt(c.Size)
	if err != nil {
		return document.Commit{}, err
	}
	d := document.Commit{Root: root.String(), Size: c.Size, Floor: c.Floor}
	if c.Metadata != nil {
		text, err := f.Encode(c.Metadata)
		if err != nil {
			return d, document.NewProblem(document.CodeNotText, "the metadata of the commit of size %d is %s", c.Size, err)
		}
		d.Metadata = &text
	}
	if t, ok := a.history.at(root); ok {
		d.Time = &t
	}
	return d, nil
}
