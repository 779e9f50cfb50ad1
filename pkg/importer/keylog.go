package importer

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/proofsync/proofsync/pkg/database"
)

// keyLog remembers every record of an input by digests, in order to find the
// keys that occur more than once. Entries are partitioned by key; a partition's
// entries are kept in a small buffer and spilled to one temporary file, so that
// memory is bounded by the buffers and, while resolving, by one partition.
//
// An entry is a truncated SHA-256 of the key (16 bytes, which nobody can make
// collide), one of the value with its delete flag (16) and the ordinal (8).
type keyLog struct {
	dir     string
	records int64
	file    *os.File // nil until something is spilled
	written int64
	parts   [keyPartitions]keyPartition
}

const (
	keyPartitions = 256
	keyEntrySize  = 40
	keyChunk      = 400 * keyEntrySize // bytes of a full buffer
)

type keyPartition struct {
	buf    []byte
	chunks []int64 // offsets of full buffers in the file
}

func newKeyLog(dir string) *keyLog { return &keyLog{dir: dir} }

func (l *keyLog) close() {
	if l.file != nil {
		l.file.Close()
		os.Remove(l.file.Name())
	}
}

// add appends the next record.
func (l *keyLog) add(w database.Write) error {
	key := sha256.Sum256(w.Key)
	var value [sha256.Size]byte
	if !w.Delete { // a delete has the digest of nothing
		value = sha256.Sum256(w.Value)
	}
	p := &l.parts[key[0]]
	p.buf = append(p.buf, key[:16]...)
	p.buf = append(p.buf, value[:16]...)
	p.buf = binary.BigEndian.AppendUint64(p.buf, uint64(l.records))
	l.records++
	if len(p.buf) < keyChunk {
		return nil
	}
	if l.file == nil {
		f, err := createTemp(l.dir)
		if err != nil {
			return fmt.Errorf("spill keys: %w", err)
		}
		l.file = f
	}
	if _, err := l.file.WriteAt(p.buf, l.written); err != nil {
		return fmt.Errorf("spill keys: %w", err)
	}
	p.chunks = append(p.chunks, l.written)
	l.written += int64(len(p.buf))
	p.buf = p.buf[:0]
	return nil
}

// resolve finds the records that do not count. With firstWins these are the
// repetitions of earlier keys, and conflict is the smallest ordinal of one with
// another value than the first; else they are those that a later record of the
// same key replaces. conflict is -1 if there is none.
func (l *keyLog) resolve(firstWins bool) (superseded *bitmap, conflict int64, err error) {
	superseded, conflict = newBitmap(l.records), -1
	type seen struct {
		ordinal int64
		value   [16]byte
	}
	chunk := make([]byte, keyChunk)
	for i := range l.parts {
		p := &l.parts[i]
		keys := make(map[[16]byte]seen, len(p.chunks)*(keyChunk/keyEntrySize)+len(p.buf)/keyEntrySize)
		visit := func(b []byte) {
			for ; len(b) > 0; b = b[keyEntrySize:] {
				key := [16]byte(b)
				now := seen{value: [16]byte(b[16:]), ordinal: int64(binary.BigEndian.Uint64(b[32:]))}
				before, ok := keys[key]
				switch {
				case !ok:
					keys[key] = now
				case firstWins:
					superseded.set(now.ordinal)
					if before.value != now.value && (conflict < 0 || now.ordinal < conflict) {
						conflict = now.ordinal
					}
				default:
					superseded.set(before.ordinal)
					keys[key] = now
				}
			}
		}
		for _, offset := range p.chunks {
			if _, err := io.ReadFull(io.NewSectionReader(l.file, offset, keyChunk), chunk); err != nil {
				return nil, -1, fmt.Errorf("read spilled keys: %w", err)
			}
			visit(chunk)
		}
		visit(p.buf)
	}
	return superseded, conflict, nil
}

// bitmap is a set of ordinals.
type bitmap struct {
	words []uint64
	count int64
}

func newBitmap(n int64) *bitmap { return &bitmap{words: make([]uint64, (n+63)/64)} }

// set adds an ordinal that is not there yet.
func (b *bitmap) set(i int64) {
	b.words[i/64] |= 1 << (i % 64)
	b.count++
}

// has is false beyond the end.
func (b *bitmap) has(i int64) bool {
	return i/64 < int64(len(b.words)) && b.words[i/64]&(1<<(i%64)) != 0
}
