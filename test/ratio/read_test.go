//go:build unix

package ratio

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sync/errgroup"

	"github.com/proofsync/proofsync/pkg/serve"
	"github.com/proofsync/proofsync/pkg/wire"
)

// A value by its key, from memory: the index, and the operation it points to. Its
// floor is the engine reading one record of the same size.
func TestReadKeepsItsDistanceFromTheEngine(t *testing.T) {
	asked(t)
	const reads = 30_000
	writes := pairs(1, keys)
	_, v := filled(t, writes)
	blocks := pebble.NewCache(cache)
	defer blocks.Unref()
	dir := t.TempDir()
	db, err := engine(filepath.Join(dir, "engine"), blocks)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := ingest(db, filepath.Join(dir, "in.sst"), writes); err != nil {
		t.Fatal(err)
	}
	order := rand.New(rand.NewPCG(3, 4)).Perm(keys)[:reads]
	ours := func() (cost, error) {
		return measure(1, func() error {
			for _, at := range order {
				e, err := v.Get(writes[at].Key)
				if err != nil {
					return err
				}
				if !bytes.Equal(e.Value, writes[at].Value) {
					return errors.New("another value was read")
				}
			}
			return nil
		})
	}
	floor := func() (cost, error) {
		return measure(1, func() error {
			for _, at := range order {
				value, closer, err := db.Get(writes[at].Key)
				if err != nil {
					return err
				}
				if !bytes.Equal(value, writes[at].Value) {
					return errors.New("the engine read another value")
				}
				if err := closer.Close(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	compare(t, "a read by key, to one of the engine", bounds{cpu: 3.7, elapsed: 15}, ours, floor)
}

// Pipelined requests of 50 operations to a server over loopback, whose client only
// counts bytes. Its floor is hashing what was sent.
func TestServingKeepsItsDistanceFromHashing(t *testing.T) {
	asked(t)
	const connections, requests, operations = 4, 1000, 50
	db, v := filled(t, pairs(1, keys))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := serve.New(serve.FromDatabase(db), serve.Options{})
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), l) }() // joined below
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := errors.Join(s.Shutdown(ctx), <-served); err != nil {
			t.Error(err)
		}
	}()
	random := rand.New(rand.NewPCG(5, 6))
	clients := make([]*client, connections)
	for i := range clients {
		c := &client{requests: requests}
		for id := range uint64(requests) {
			from := v.Start() + random.Uint64N(v.Size()-v.Start()-operations)
			if c.ask, err = wire.AppendFrame(c.ask, &wire.GetOperations{ID: id + 1, Size: v.Size(), Start: from, Max: operations}); err != nil {
				t.Fatal(err)
			}
		}
		if c.conn, err = net.Dial("tcp", l.Addr().String()); err != nil {
			t.Fatal(err)
		}
		defer c.conn.Close()
		c.in = bufio.NewReaderSize(c.conn, 64<<10)
		clients[i] = c
	}
	// What comes is always the same, so one turn tells its size.
	var sizes [connections]int
	turn := func() error {
		var group errgroup.Group
		for i, c := range clients {
			group.Go(func() (err error) { sizes[i], err = c.turn(); return err })
		}
		return group.Wait()
	}
	if err := turn(); err != nil {
		t.Fatal(err)
	}
	var messages [][]byte
	for _, n := range sizes {
		if n < requests*operations*65 {
			t.Fatalf("%d bytes answered %d requests", n, requests)
		}
		messages = append(messages, make([]byte, n))
	}
	compare(t, "serving requests of fifty, to hashing the replies", bounds{cpu: 17, elapsed: 60}, func() (cost, error) { return measure(1, turn) }, hashing(messages, 3))
}

// client sends all its requests and takes the answers as they come.
type client struct {
	conn     net.Conn
	in       *bufio.Reader
	ask      []byte
	requests int
}

// turn returns how many bytes the answers have.
func (c *client) turn() (size int, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return 0, err
	}
	var writing errgroup.Group
	writing.Go(func() error {
		_, err := c.conn.Write(c.ask)
		return err
	})
	for range c.requests {
		n, err := wire.ReadFrameLen(c.in)
		if err == nil {
			_, err = c.in.Discard(n)
		}
		if err != nil {
			return 0, errors.Join(err, c.conn.Close(), writing.Wait()) // closed, so that the writer ends
		}
		size += n
	}
	return size, writing.Wait()
}
