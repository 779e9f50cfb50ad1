package syncer_test

import (
	"encoding/hex"
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
	"github.com/proofsync/proofsync/pkg/wire"
)

// holdData is an honest server that calls before with the running number of
// each request for operations, from 1, before it answers it. Other requests of
// the same connection are answered meanwhile.
func holdData(srv *sourcetest.Server, db *database.DB, before func(n int64)) sourcetest.Handler {
	return func(c *sourcetest.Conn, m wire.Message) {
		if m.Tag() != wire.TagGetOperations {
			c.Send(sourcetest.Answer(db, m))
			return
		}
		n := srv.Data.Load()
		srv.Go(func() {
			before(n)
			c.Send(sourcetest.Answer(db, m))
		})
	}
}

// honest is sourcetest.Honest with a say in every answer to a request for
// operations, which change may alter, or send something else and return nil.
func honest(db *database.DB, change func(c *sourcetest.Conn, m *wire.GetOperations, a *wire.Operations) wire.Message) sourcetest.Handler {
	return func(c *sourcetest.Conn, m wire.Message) {
		reply := sourcetest.Answer(db, m)
		if a, ok := reply.(*wire.Operations); ok {
			reply = change(c, m.(*wire.GetOperations), a)
		}
		if reply != nil {
			c.Send(reply)
		}
	}
}

// twins are two databases with the same log up to a point and different ones
// after it.
func twins(t testing.TB, common, own int) (a, b *database.DB) {
	a, b = sourcetest.Writer(t, anyFixed), sourcetest.Writer(t, anyFixed)
	sourcetest.Commit(t, a, 1, common, 30)
	sourcetest.Commit(t, b, 1, common, 30)
	sourcetest.Commit(t, a, 10, own, 30)
	sourcetest.Commit(t, b, 20, own, 30)
	return a, b
}

// fill appends to a load what another database holds, up to end, and flushes
// it without publishing: what a killed client leaves behind.
func fill(t testing.TB, l *database.Load, from *database.DB, end uint64) {
	t.Helper()
	v, err := from.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	ops, n, err := v.AppendOperations(nil, l.End(), end, wire.MaxFrame)
	if err != nil || uint64(n) != end-l.End() {
		t.Fatal(n, err)
	}
	run, err := v.Codec().NewRun(ops)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Append(mmr.HashSpan(l.End(), run), run); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// hexBytes are bytes written in hexadecimal.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}
