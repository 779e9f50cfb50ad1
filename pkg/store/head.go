package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/proofsync/proofsync/pkg/mmr"
)

// Head is the newest state a process acknowledged: to a writer, to clients,
// or to readers. Opening a database that holds less is corruption, not "less
// data": that is all the file HEAD is for. docs/format.md section 2.
type Head struct {
	Generation uint64
	Size       uint64
	Root       mmr.Digest
}

const (
	headMagic = "psHEAD1\n"
	slotLen   = 8 + 3*8 + mmr.DigestSize + 4 // magic, sequence, generation, size, root, crc
	slotSpace = 512                          // each slot in a sector of its own: a torn write hurts one
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (h Head) encode(seq uint64) []byte {
	b := append(make([]byte, 0, slotLen), headMagic...)
	for _, n := range []uint64{seq, h.Generation, h.Size} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = append(b, h.Root[:]...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeSlot(b []byte) (h Head, seq uint64, ok bool) {
	if len(b) < slotLen || string(b[:8]) != headMagic ||
		binary.BigEndian.Uint32(b[slotLen-4:]) != crc32.Checksum(b[:slotLen-4], castagnoli) {
		return Head{}, 0, false
	}
	n := func(i int) uint64 { return binary.BigEndian.Uint64(b[8+8*i:]) }
	return Head{Generation: n(1), Size: n(2), Root: mmr.Digest(b[32:])}, n(0), true
}

// headFile writes the two slots in turn.
type headFile struct {
	f   vfs.File
	seq uint64
}

// readHead returns the newest valid slot; ok is false when the file does not
// exist, and an error when it exists without a valid slot.
func readHead(fs FS, path string) (h Head, seq uint64, ok bool, err error) {
	f, err := fs.Open(path)
	if isNotExist(err) {
		return Head{}, 0, false, nil
	}
	if err != nil {
		return Head{}, 0, false, err
	}
	defer f.Close()
	b := make([]byte, 2*slotSpace)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return Head{}, 0, false, fmt.Errorf("read %s: %w", path, err)
	}
	b = b[:n]
	for i := 0; i < 2 && i*slotSpace < len(b); i++ {
		if s, q, valid := decodeSlot(b[i*slotSpace:]); valid && (!ok || q > seq) {
			h, seq, ok = s, q, true
		}
	}
	// A file of zeroes is one whose first write never reached the disk.
	if !ok && len(bytes.Trim(b, "\x00")) > 0 {
		return Head{}, 0, false, corrupt(path, "neither slot has a valid checksum")
	}
	return h, seq, ok, nil
}

func openHead(fs FS, path string, seq uint64) (*headFile, error) {
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &headFile{f: f, seq: seq}, nil
}

// write makes h the newest slot, durably.
func (w *headFile) write(h Head) error {
	seq := w.seq + 1
	slot := make([]byte, slotSpace)
	copy(slot, h.encode(seq))
	if _, err := w.f.WriteAt(slot, int64(seq%2)*slotSpace); err != nil {
		return fmt.Errorf("write HEAD: %w", err)
	}
	if err := w.f.Sync(); err != nil {
		return fmt.Errorf("sync HEAD: %w", err)
	}
	w.seq = seq // only now: a failed write is repeated in the same slot, never in the valid one
	return nil
}
