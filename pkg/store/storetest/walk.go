package storetest

import (
	"encoding/binary"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/store"
)

// Below counts the bundles, tiles and index entries of a closed generation
// that are about locations below start only. It reads the keys by the rules of
// docs/format.md, with no help of package store.
func Below(tb testing.TB, fs store.FS, path string, start uint64) (bundles, tiles, entries int) {
	tb.Helper()
	db, err := pebble.Open(path, &pebble.Options{FS: fs, ReadOnly: true, FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}})
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = db.Close() }() // it was only read
	it, err := db.NewIter(nil)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = it.Close() }()
	for ok := it.First(); ok; ok = it.Next() {
		k := it.Key()
		switch last := k[max(0, len(k)-8):]; k[0] {
		case 0x02:
			if binary.BigEndian.Uint64(last) < start {
				bundles++
			}
		case 0x03:
			if (mmr.TileID{Level: k[1], Index: binary.BigEndian.Uint64(last)}).End() <= start {
				tiles++
			}
		case 0x04:
			if ^binary.BigEndian.Uint64(last) < start {
				entries++
			}
		}
	}
	if err := it.Error(); err != nil {
		tb.Fatal(err)
	}
	return bundles, tiles, entries
}
