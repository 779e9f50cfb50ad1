// Package mmr is the mathematics of the authenticated log: a Merkle mountain
// range over encoded operations, its root, range proofs and pinned nodes.
//
// It is pure: no I/O, no goroutines, no knowledge of what an operation means.
// Digests that are not at hand are asked for through functions the caller
// passes in, so the same code proves from memory, from disk and in tests.
//
//	operations --HashSpan--> Span --Frontier.Append--> full tiles, peaks --Root--> root
//	                          |
//	                          +--Proof.Verify(root)  (the digests computed while checking are the ones stored)
//
// Every perfect subtree is aligned, so a node is named by its height and its
// index among the nodes of that height; positions exist only inside hashes.
package mmr

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
)

const (
	// MaxLeaves is the largest number of leaves a tree may have (format.md section 1).
	MaxLeaves = 1 << 62
	// MaxPeaks bounds the peaks of any tree, and so the pinned nodes of any location.
	MaxPeaks = 62
	// DigestSize is the length of a digest in bytes.
	DigestSize = sha256.Size
)

// Digest is a SHA-256 digest.
type Digest [DigestSize]byte

// String returns the digest in lower-case hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText makes digests hexadecimal in JSON.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads 64 hexadecimal digits.
func (d *Digest) UnmarshalText(text []byte) error {
	v, err := ParseDigest(string(text))
	if err == nil {
		*d = v
	}
	return err
}

// ParseDigest reads 64 hexadecimal digits.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	if len(s) != 2*DigestSize {
		return d, fmt.Errorf("digest %.80q: %d hexadecimal digits expected, got %d characters", s, 2*DigestSize, len(s))
	}
	if _, err := hex.Decode(d[:], []byte(s)); err != nil {
		return d, fmt.Errorf("digest %q: %w", s, err)
	}
	return d, nil
}

// Node names a perfect subtree: the leaves [Index<<Height, (Index+1)<<Height).
type Node struct {
	Height uint8
	Index  uint64
}

// First is the location of the node's first leaf.
func (n Node) First() uint64 { return n.Index << n.Height }

// End is one past the location of the node's last leaf.
func (n Node) End() uint64 { return (n.Index + 1) << n.Height }

// Left is the older child; only for Height > 0.
func (n Node) Left() Node { return Node{n.Height - 1, n.Index << 1} }

// Right is the newer child; only for Height > 0.
func (n Node) Right() Node { return Node{n.Height - 1, n.Index<<1 | 1} }

// Parent is the node this one is a child of, in a tree that is large enough.
func (n Node) Parent() Node { return Node{n.Height + 1, n.Index >> 1} }

// Position is the node's place in append order: a node is appended right
// after its last leaf and the nodes below it (format.md section 1).
func (n Node) Position() uint64 { return LeafPosition(n.End()-1) + uint64(n.Height) }

// LeafPosition is the position of the leaf at location loc.
func LeafPosition(loc uint64) uint64 { return NodeCount(loc) }

// NodeCount is the number of nodes of a tree with this many leaves.
func NodeCount(leaves uint64) uint64 { return 2*leaves - uint64(bits.OnesCount64(leaves)) }

// Peaks lists the peaks of a tree with this many leaves, oldest (tallest) first.
func Peaks(leaves uint64) []Node {
	return AppendPeaks(make([]Node, 0, bits.OnesCount64(leaves)), leaves)
}

// AppendPeaks appends what Peaks lists.
func AppendPeaks(peaks []Node, leaves uint64) []Node {
	for h := bits.Len64(leaves) - 1; h >= 0; h-- {
		if leaves>>h&1 == 1 {
			peaks = append(peaks, Node{uint8(h), leaves>>h - 1})
		}
	}
	return peaks
}

// InactivePeaks counts the leading peaks whose leaves all lie below floor.
func InactivePeaks(leaves, floor uint64) uint64 {
	var n uint64
	for h := bits.Len64(leaves) - 1; h >= 0; h-- {
		if leaves>>h&1 == 0 {
			continue
		}
		if (leaves >> h << h) > floor { // end of this peak
			break
		}
		n++
	}
	return n
}

// HashLeaf is the digest of the operation at location loc.
func HashLeaf(loc uint64, op []byte) Digest {
	var buf [128]byte // fixed operations fit: no allocation
	binary.BigEndian.PutUint64(buf[:8], LeafPosition(loc))
	if len(op) <= len(buf)-8 {
		return sha256.Sum256(buf[:8+copy(buf[8:], op)])
	}
	h := sha256.New()
	h.Write(buf[:8])
	h.Write(op)
	var d Digest
	h.Sum(d[:0])
	return d
}

// HashNode is the digest of the inner node n over its two children.
func HashNode(n Node, left, right Digest) Digest {
	var buf [8 + 2*DigestSize]byte
	binary.BigEndian.PutUint64(buf[:8], n.Position())
	copy(buf[8:], left[:])
	copy(buf[8+DigestSize:], right[:])
	return sha256.Sum256(buf[:])
}

// fold combines two peaks or accumulators; neither position nor tag goes in.
func fold(a, b Digest) Digest {
	var buf [2 * DigestSize]byte
	copy(buf[:], a[:])
	copy(buf[DigestSize:], b[:])
	return sha256.Sum256(buf[:])
}

func foldLeft(ds []Digest) Digest {
	acc := ds[0]
	for _, d := range ds[1:] {
		acc = fold(acc, d)
	}
	return acc
}

func foldRight(ds []Digest) Digest {
	acc := ds[len(ds)-1]
	for i := len(ds) - 2; i >= 0; i-- {
		acc = fold(ds[i], acc)
	}
	return acc
}

// Root is the root of a tree with this many leaves, the given number of
// inactive peaks and the given peak digests, oldest first (format.md section
// 1, backward fold). It fails when there are not exactly as many digests as
// the tree has peaks, or more inactive peaks than peaks.
func Root(leaves, inactive uint64, peaks []Digest) (Digest, error) {
	if leaves > MaxLeaves {
		return Digest{}, proofErrorf("%d leaves, at most 2^62", leaves)
	}
	if n := bits.OnesCount64(leaves); len(peaks) != n {
		return Digest{}, proofErrorf("%d peak digests, a tree of %d leaves has %d", len(peaks), leaves, n)
	}
	if inactive > uint64(len(peaks)) {
		return Digest{}, proofErrorf("%d inactive peaks of %d", inactive, len(peaks))
	}
	return rootOf(leaves, inactive, inactive, peaks)
}

// rootOf folds the first foldFirst of list (0 means 1) from the left and the
// rest from the right. inactive is the number that goes into the hash; a
// proof delivers some inactive peaks already folded, then foldFirst is lower.
func rootOf(leaves, inactive, foldFirst uint64, list []Digest) (Digest, error) {
	var buf [16 + DigestSize]byte
	binary.BigEndian.PutUint64(buf[:8], leaves)
	if len(list) == 0 {
		if inactive != 0 || foldFirst != 0 {
			return Digest{}, proofErrorf("inactive peaks in an empty tree")
		}
		return sha256.Sum256(buf[:8]), nil
	}
	n := max(foldFirst, 1)
	if n > uint64(len(list)) {
		return Digest{}, proofErrorf("%d peaks to fold, there are %d", n, len(list))
	}
	acc := foldLeft(list[:n])
	if rest := list[n:]; len(rest) > 0 {
		acc = fold(acc, foldRight(rest))
	}
	at := 8
	if inactive != 0 {
		binary.BigEndian.PutUint64(buf[8:], inactive)
		at = 16
	}
	copy(buf[at:], acc[:])
	return sha256.Sum256(buf[:at+DigestSize]), nil
}
