package store

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/proofsync/proofsync/pkg/mmr"
)

// Key spaces of a generation: the first byte of every key. docs/format.md
// section 3. Numbers are big-endian so that they sort.
const (
	spaceState  = 0x01
	spaceBundle = 0x02
	spaceTile   = 0x03
	spaceIndex  = 0x04
	// 0x05 is kept for activity bits, which the family current will need.
	spaceNote = 0x06
)

var (
	indexEnd  = []byte{spaceIndex + 1}
	bundleEnd = []byte{spaceBundle + 1}
	tileEnd   = []byte{spaceTile + 1}

	stateKey = []byte{spaceState, 's'}
	pinsKey  = []byte{spaceState, 'p'}
	// unprunedKey names the location from which on things may still exist.
	unprunedKey = []byte{spaceState, 'u'}
)

// within bounds an iterator to the keys that begin with prefix, whose last byte is
// below 0xff.
func within(prefix ...byte) *pebble.IterOptions {
	end := slices.Clone(prefix)
	end[len(end)-1]++
	return &pebble.IterOptions{LowerBound: prefix, UpperBound: end}
}

// before bounds an iterator at the end of its space only: whoever looks keys up
// compares what is found anyway, and a lower bound would be compared with the first
// key of every block that is read from a table that begins in another space.
func before(end []byte) *pebble.IterOptions { return &pebble.IterOptions{UpperBound: end} }

// bundleKeyLen is the length of a bundle's key.
const bundleKeyLen = 1 + 8

func bundleKey(dst []byte, loc uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, spaceBundle), loc)
}

func tileKey(dst []byte, id mmr.TileID) []byte {
	return binary.BigEndian.AppendUint64(append(dst, spaceTile, id.Level), id.Index)
}

// locationOf reads the location from a bundle's key.
func locationOf(key []byte) uint64 { return binary.BigEndian.Uint64(key[1:9]) }

// indexPrefix is the part of an index key that all entries of a key share.
// Keys of a fixed length go in as they are. Keys of any length are escaped:
// 00 becomes 00 ff, and 00 01 ends the key, so that keys sort bytewise with a
// proper prefix first, and no key's entries lie between another's.
func (g *Generation) indexPrefix(dst, key []byte) []byte {
	dst = append(dst, spaceIndex)
	if g.opSize > 0 {
		return append(dst, key...)
	}
	dst = appendEscaped(dst, key)
	return append(dst, 0x00, 0x01)
}

func appendEscaped(dst, key []byte) []byte {
	for {
		i := bytes.IndexByte(key, 0)
		if i < 0 {
			return append(dst, key...)
		}
		dst = append(append(dst, key[:i]...), 0x00, 0xff)
		key = key[i+1:]
	}
}

// splitIndexKey takes an index key apart. The key is appended to buf.
func (g *Generation) splitIndexKey(buf, k []byte) (key []byte, loc uint64, ok bool) {
	if len(k) < 9 || k[0] != spaceIndex {
		return nil, 0, false
	}
	body := k[1 : len(k)-8]
	loc = ^binary.BigEndian.Uint64(k[len(k)-8:])
	if g.opSize > 0 {
		return append(buf, body...), loc, true
	}
	for {
		i := bytes.IndexByte(body, 0)
		if i < 0 || i+1 >= len(body) {
			return nil, 0, false
		}
		buf = append(buf, body[:i]...)
		if body[i+1] == 0x01 {
			return buf, loc, i+2 == len(body)
		}
		buf, body = append(buf, 0), body[i+2:]
	}
}

func appendIndexLocation(dst []byte, loc uint64) []byte {
	return binary.BigEndian.AppendUint64(dst, ^loc) // newest first
}
