package bench

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/space"
)

// lab is what all scenarios of one number of operations share. What it holds is
// made when it is first asked for.
type lab struct {
	o      Options
	ops    int
	dir    string
	counts map[string]int // processes that were profiled, by name

	made struct {
		database, replica *prepared
		lines             string
	}
}

// prepared is a storage directory that scenarios read, or copy.
type prepared struct {
	dir         string
	size, start uint64 // of the log, and where a new replica begins
	root        mmr.Digest
}

// fetched is how many operations a cold sync fetches.
func (p *prepared) fetched() uint64 { return p.size - p.start }

// databaseBytes estimates the space a database takes at most: every operation
// with its digests and index entry, twice while tables are merged, and what the
// storage engine sets aside.
func (l *lab) databaseBytes() uint64 {
	const overhead, engine = 64, 16 << 20
	return engine + 2*uint64(l.ops)*uint64(keyBytes+l.o.ValueBytes+overhead)
}

// linesBytes estimates the imported file, and what the importer puts beside it.
func (l *lab) linesBytes() uint64 {
	return uint64(l.ops) * uint64(base64.StdEncoding.EncodedLen(keyBytes)+base64.StdEncoding.EncodedLen(l.o.ValueBytes)+64)
}

// room says whether so many bytes may be written without filling the volume.
func (l *lab) room(bytes uint64) error {
	guard := space.New(space.Options{
		Floor: space.Floor{Auto: true}, Path: l.dir, Logger: discard,
		Measure: func() (space.Usage, error) { return l.o.Space(l.dir) },
	})
	if err := guard.Need(bytes); err != nil {
		return fmt.Errorf("about %s would be needed below %s: %w (choose another folder for databases, or fewer operations)", space.Bytes(bytes), l.dir, err)
	}
	return nil
}

// database is the database of ops writes, as a writer has it some time after the
// last one.
func (l *lab) database(ctx context.Context) (*prepared, error) {
	if l.made.database != nil {
		return l.made.database, nil
	}
	if err := l.room(l.databaseBytes()); err != nil {
		return nil, err
	}
	p := &prepared{dir: filepath.Join(l.dir, "database")}
	defer func() {
		if l.made.database == nil {
			os.RemoveAll(p.dir) // the next scenario may try again
		}
	}()
	child, _, err := spawn(ctx, l.o, job{Role: "database", Dir: p.dir, Create: true})
	if err != nil {
		return nil, err
	}
	defer child.kill()
	told := newProgress(l.o.Logger, "preparing database", l.ops)
	chunk := 10 * fillBatch(l.o.ValueBytes)
	var a answer
	for done := 0; done < l.ops; done += chunk {
		n := min(chunk, l.ops-done)
		if a, err = child.do(step{Do: "fill", First: uint64(done), Count: n}); err != nil {
			return nil, err
		}
		told.at(done + n)
	}
	if _, err := child.do(step{Do: "settle"}); err != nil {
		return nil, err
	}
	if err := child.end(); err != nil {
		return nil, err
	}
	p.size, p.start, p.root = a.Size, a.Start, a.Root
	if p.size < uint64(l.ops) {
		return nil, fmt.Errorf("the prepared database has %d operations after %d writes", p.size, l.ops)
	}
	told.end("size", p.size, "start", p.start, "root", p.root)
	l.made.database = p
	return p, nil
}

// replica is a replica of that database, some time after its sync.
func (l *lab) replica(ctx context.Context) (_ *prepared, err error) {
	if l.made.replica != nil {
		return l.made.replica, nil
	}
	origin, err := l.database(ctx)
	if err != nil {
		return nil, err
	}
	if err := l.room(l.databaseBytes()); err != nil {
		return nil, err
	}
	s := newSession(l, "prepare")
	p := &prepared{dir: filepath.Join(l.dir, "replica"), size: origin.size, start: origin.start, root: origin.root}
	defer func() {
		if err = errors.Join(err, s.close()); err != nil {
			l.made.replica = nil
			os.RemoveAll(p.dir)
		}
	}()
	server, up, err := s.start(ctx, job{Role: "server", Dir: origin.dir})
	if err != nil {
		return nil, err
	}
	client, _, err := s.start(ctx, job{Role: "replica", Dir: p.dir, Addr: up.Addr, BatchSize: 10_000})
	if err != nil {
		return nil, err
	}
	told := newProgress(l.o.Logger, "preparing replica", l.ops)
	a, err := client.do(step{Do: "sync"})
	if err != nil {
		return nil, err
	}
	if err := p.equal(a); err != nil {
		return nil, err
	}
	if _, err := client.do(step{Do: "settle"}); err != nil {
		return nil, err
	}
	told.end()
	l.made.replica = p
	return p, errors.Join(client.end(), server.end())
}

// equal checks that an answer is of the same log.
func (p *prepared) equal(a answer) error {
	if a.Size != p.size || a.Root != p.root {
		return fmt.Errorf("it came to %d operations and root %s: %d and %s expected", a.Size, a.Root, p.size, p.root)
	}
	return nil
}

// lines is a file of JSON Lines with the writes of the database.
func (l *lab) lines(ctx context.Context) (string, error) {
	if l.made.lines != "" {
		return l.made.lines, nil
	}
	if err := l.room(l.linesBytes()); err != nil {
		return "", err
	}
	path := filepath.Join(l.dir, "input.jsonl")
	told := newProgress(l.o.Logger, "preparing input", l.ops)
	if err := writeLines(ctx, path, l.ops, l.o.ValueBytes, told.at); err != nil {
		os.Remove(path)
		return "", err
	}
	told.end()
	l.made.lines = path
	return path, nil
}

// writeLines writes the first count keys with their first values.
func writeLines(ctx context.Context, path string, count, valueBytes int, told func(done int)) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	var line, key, value []byte
	for n := range uint64(count) {
		if n%1024 == 0 {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			told(int(n))
		}
		key, value = appendKey(key[:0], n), appendValue(value[:0], n, 0, valueBytes)
		line = append(line[:0], `{"key_base64":"`...)
		line = base64.StdEncoding.AppendEncode(line, key)
		line = append(line, `","value_base64":"`...)
		line = base64.StdEncoding.AppendEncode(line, value)
		line = append(line, "\"}\n"...)
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	return w.Flush()
}

// link copies a storage directory that nobody holds, tables by hard links.
func link(ctx context.Context, o Options, from, to string) (err error) {
	db, err := database.Open(from, database.Options{Codec: o.Codec})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.Backup(ctx, to, nil)
	return err
}
