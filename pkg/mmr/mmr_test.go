package mmr

import (
	"bytes"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestPositionsAndPeaksMatchNaiveTree(t *testing.T) {
	tree := newNaive(300)
	for size := range uint64(301) {
		var got []Digest
		for _, p := range Peaks(size) {
			got = append(got, tree.nodes[p.Position()])
		}
		if want := tree.peaks(size); !slices.Equal(got, want) {
			t.Fatalf("size %d: peaks differ", size)
		}
		if size < 300 && NodeCount(size+1) <= LeafPosition(size) {
			t.Fatalf("leaf %d is not inside a tree of its own size", size)
		}
	}
}

func TestRootMatchesNaiveForEveryInactiveCount(t *testing.T) {
	tree := newNaive(140)
	for size := range uint64(141) {
		for k := uint64(0); k <= uint64(len(Peaks(size))); k++ {
			got, err := Root(size, k, tree.peaks(size))
			if err != nil || got != tree.root(size, k) {
				t.Fatalf("size %d inactive %d: %v %v", size, k, got, err)
			}
		}
	}
	if _, err := Root(3, 3, tree.peaks(3)); !errors.Is(err, ErrProof) {
		t.Fatalf("more inactive peaks than peaks: %v", err)
	}
	if _, err := Root(3, 0, tree.peaks(2)); !errors.Is(err, ErrProof) {
		t.Fatalf("too few peaks: %v", err)
	}
}

func TestInactivePeaksCountsLeadingPeaksBelowFloor(t *testing.T) {
	for size := range uint64(201) {
		for floor := uint64(0); floor <= size+1; floor++ {
			want := uint64(0)
			for _, p := range Peaks(size) {
				if p.End() > floor {
					break
				}
				want++
			}
			if got := InactivePeaks(size, floor); got != want {
				t.Fatalf("size %d floor %d: %d, want %d", size, floor, got, want)
			}
		}
	}
}

func prove(t testing.TB, tree *naive, size, k, start, end uint64) Proof {
	t.Helper()
	p, err := Prove(size, k, start, end, func(n Node) (Digest, error) {
		if n.First() < end && n.End() > start {
			t.Fatalf("asked for %v inside [%d, %d)", n, start, end)
		}
		return tree.node(n), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEveryRangeProvesAndPinsVerify(t *testing.T) {
	const most = 37
	tree := newNaive(most)
	for size := uint64(1); size <= most; size++ {
		peaks := uint64(len(Peaks(size)))
		for k := uint64(0); k <= peaks; k++ {
			root := tree.root(size, k)
			for start := range size {
				for end := start + 1; end <= size; end++ {
					p := prove(t, tree, size, k, start, end)
					span := HashSpan(start, ops{start, end})
					if err := p.VerifyPins(span, tree.peaks(start), root); err != nil {
						t.Fatalf("size %d k %d [%d, %d): %v", size, k, start, end, err)
					}
					if n, err := ProofSize(size, k, start, end); err != nil || n != len(p.Digests) {
						t.Fatalf("proof size %d, %d digests (%v)", n, len(p.Digests), err)
					}
				}
			}
		}
	}
}

func TestTamperedProofsAreRejected(t *testing.T) {
	tree := newNaive(700)
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.Uint64Range(1, 700).Draw(rt, "size")
		k := rapid.Uint64Range(0, uint64(len(Peaks(size)))).Draw(rt, "k")
		start := rapid.Uint64Range(0, size-1).Draw(rt, "start")
		end := rapid.Uint64Range(start+1, size).Draw(rt, "end")
		root, pins := tree.root(size, k), tree.peaks(start)
		p := prove(t, tree, size, k, start, end)
		at := start
		e := ops{start, end}
		flip := func(ds []Digest) []Digest {
			ds = slices.Clone(ds)
			i := rapid.IntRange(0, len(ds)-1).Draw(rt, "digest")
			bit := rapid.IntRange(0, 255).Draw(rt, "bit")
			ds[i][bit/8] ^= 1 << (bit % 8)
			return ds
		}
		switch kind := rapid.SampledFrom([]string{"digest", "missing", "extra", "size", "inactive", "location", "operation", "pin", "pins", "root"}).Draw(rt, "kind"); kind {
		case "digest":
			if len(p.Digests) == 0 {
				return
			}
			p.Digests = flip(p.Digests)
		case "missing":
			if len(p.Digests) == 0 {
				return
			}
			p.Digests = p.Digests[1:]
		case "extra":
			p.Digests = append(slices.Clone(p.Digests), Digest{})
		case "size":
			p.Leaves += rapid.SampledFrom([]uint64{1, 2, 256, 1 << 40, ^uint64(0)}).Draw(rt, "by")
		case "inactive":
			p.InactivePeaks += rapid.SampledFrom([]uint64{1, 2, 1 << 63, ^uint64(0)}).Draw(rt, "by")
		case "location":
			at++
		case "operation":
			e.start++ // the next run of operations in the place of this one
			e.end++
		case "pin":
			if len(pins) == 0 {
				return
			}
			pins = flip(pins)
		case "pins":
			pins = append(slices.Clone(pins), Digest{})
		case "root":
			root[0] ^= 1
		}
		if err := p.VerifyPins(HashSpan(at, e), pins, root); !errors.Is(err, ErrProof) {
			rt.Fatalf("accepted: %v", err)
		}
	})
}

func TestEmptyProofProvesOnlyTheEmptyTree(t *testing.T) {
	empty, _ := Root(0, 0, nil)
	if err := (&Proof{}).Verify(HashSpan(0, ops{}), empty); err != nil {
		t.Fatal(err)
	}
	for _, p := range []Proof{{Leaves: 1}, {InactivePeaks: 1}, {Digests: make([]Digest, 1)}} {
		if err := p.Verify(HashSpan(0, ops{}), empty); !errors.Is(err, ErrProof) {
			t.Fatalf("%+v accepted", p)
		}
	}
	if err := (&Proof{}).Verify(HashSpan(1, ops{1, 1}), empty); !errors.Is(err, ErrProof) {
		t.Fatal("accepted at location 1")
	}
}

func TestHugeDeclaredSizesAreRejectedWithoutWork(t *testing.T) {
	for _, leaves := range []uint64{MaxLeaves, MaxLeaves + 1, 1 << 63, ^uint64(0)} {
		p := Proof{Leaves: leaves, InactivePeaks: 5, Digests: make([]Digest, 70)}
		if err := p.VerifyPins(HashSpan(3, ops{3, 5}), nil, Digest{}); !errors.Is(err, ErrProof) {
			t.Fatalf("%d leaves accepted", leaves)
		}
	}
	if f, err := NewFrontier(MaxLeaves, make([]Digest, 1)); err != nil || len(f.Peaks()) != 1 {
		t.Fatalf("a full tree has one peak: %v", err)
	}
}

// grow appends [start, size) to a frontier in runs of random length and
// checks every tile against the naive tree.
func grow(t testing.TB, tree *naive, f *Frontier, size uint64, rng *rand.Rand) map[TileID][]byte {
	tiles := map[TileID][]byte{}
	start := f.Leaves()
	for f.Leaves() < size {
		at := f.Leaves()
		end := min(size, at+1+rng.Uint64N([]uint64{3, 100, 1000}[rng.IntN(3)]))
		if rng.IntN(3) == 0 {
			end = min(size, (at+512)&^255)
		}
		err := f.Append(HashSpan(at, ops{at, end}), func(tile *Tile) {
			tiles[tile.TileID] = tile.AppendTo(nil)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for id, got := range tiles {
		if len(got) != TileDigests(id.Level)*DigestSize {
			t.Fatalf("tile %v: %d bytes", id, len(got))
		}
		for h := uint8(TileFloor); h <= id.Top().Height; h++ {
			for i := id.Top().First() >> h; i < id.Top().End()>>h; i++ {
				n := Node{h, i}
				owner, at := TileOf(n)
				want := tree.node(n)
				if owner == id && n.End() > start && !bytes.Equal(got[at*DigestSize:(at+1)*DigestSize], want[:]) {
					t.Fatalf("tile %v: node %v differs", id, n)
				}
			}
		}
	}
	return tiles
}

func TestFrontierGrowsLikeTheNaiveTree(t *testing.T) {
	const most = 70_000 // past the first tile of level 1
	tree := newNaive(most)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, start := range []uint64{0, 1, 255, 256, 300, 1000, 65_535, 65_536, 65_800} {
		f, err := NewFrontier(start, tree.peaks(start))
		if err != nil {
			t.Fatal(err)
		}
		stored := map[TileID][]byte{}
		for _, size := range []uint64{start + 1, start + 200, start + 700, 66_000, 66_300, most} {
			if size <= f.Leaves() {
				continue
			}
			maps.Copy(stored, grow(t, tree, f, size, rng))
			if !slices.Equal(f.Peaks(), tree.peaks(size)) {
				t.Fatalf("start %d size %d: peaks differ", start, size)
			}
			if got, want := f.Root(size/2), tree.root(size, InactivePeaks(size, size/2)); got != want {
				t.Fatalf("start %d size %d: root differs", start, size)
			}
			loaded, err := LoadFrontier(size, start, tree.peaks(start), func(n Node) (Digest, error) {
				id, at := TileOf(n)
				return Digest(stored[id][at*DigestSize:]), nil
			})
			if err != nil {
				t.Fatal(err)
			}
			edge := TailStart(start, size)
			if err := loaded.Append(HashSpan(edge, ops{edge, size}), nil); err != nil {
				t.Fatal(err)
			}
			for h := range f.rows {
				if !slices.Equal(loaded.rows[h], f.rows[h]) {
					t.Fatalf("start %d size %d: restored row %d differs", start, size, h)
				}
			}
		}
	}
}

func TestSnapshotStaysWhileTheFrontierGrows(t *testing.T) {
	tree := newNaive(3000)
	rng := rand.New(rand.NewPCG(3, 4))
	f, _ := NewFrontier(0, nil)
	type snap struct {
		f    *Frontier
		size uint64
	}
	var snaps []snap
	for size := uint64(1); size <= 3000; size += 1 + rng.Uint64N(40) {
		grow(t, tree, f, size, rng)
		snaps = append(snaps, snap{f.Snapshot(), size})
	}
	for _, s := range snaps {
		if !slices.Equal(s.f.Peaks(), tree.peaks(s.size)) {
			t.Fatalf("snapshot at %d changed", s.size)
		}
		for h := range uint8(heights) {
			for i := uint64(0); (i+1)<<h <= s.size; i++ {
				if d, ok := s.f.Digest(Node{h, i}); ok && d != tree.node(Node{h, i}) {
					t.Fatalf("snapshot at %d: node %d/%d changed", s.size, h, i)
				}
			}
		}
	}
}

// A span hashes two at a time where it can: every digest is what HashLeaf and
// HashNode make one by one, wherever it starts and whatever the lengths are.
func TestASpanHasTheDigestsOfSingleHashes(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	data := make([]byte, 100_000)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	lengths := map[string]func(i int) int{
		"fixed":         func(int) int { return 65 },
		"empty":         func(int) int { return 0 },
		"turns":         func(i int) int { return []int{10, 1000}[i%2] },
		"small":         func(int) int { return rng.IntN(130) },
		"some are long": func(int) int { return []int{0, 65, 1024, 5000, 90_000}[rng.IntN(5)] },
	}
	span := new(Span) // whose memory the next one finds
	for name, length := range lengths {
		for count := range 70 {
			if count > 40 && name != "some are long" {
				count *= 11 // 770 operations are whole nodes of SpanHeight
			}
			var e elements
			for i := range count {
				n := length(i)
				at := rng.IntN(len(data) - n)
				e = append(e, data[at:at+n])
			}
			start := rng.Uint64N(1000)
			span.Reset(start, e)
			end := start + uint64(count)
			for h := uint8(0); h <= SpanHeight; h++ {
				base, got := span.level(h)
				var want []Digest
				for i := base; (i+1)<<h <= end; i++ {
					n := Node{h, i}
					if h == 0 {
						want = append(want, HashLeaf(i, e[i-start]))
						continue
					}
					left, _ := span.Digest(n.Left())
					right, _ := span.Digest(n.Right())
					want = append(want, HashNode(n, left, right))
				}
				if !slices.Equal(got, want) {
					t.Fatalf("%s: %d operations from %d on: height %d differs", name, count, start, h)
				}
			}
		}
	}
}

func TestALevelMayTakeThePlaceOfTheOneBelow(t *testing.T) {
	for count := range 40 {
		row := slices.Clone(newNaive(80).nodes[:2*count])
		var want []Digest
		for i := range count {
			want = append(want, HashNode(Node{3, 77 + uint64(i)}, row[2*i], row[2*i+1]))
		}
		HashLevel(row[:count], row, 3, 77)
		if !slices.Equal(row[:count], want) {
			t.Fatalf("%d nodes differ", count)
		}
	}
}

type fixed65 struct {
	data []byte
}

func (f fixed65) Len() int        { return len(f.data) / 65 }
func (f fixed65) At(i int) []byte { return f.data[i*65 : i*65+65] }

func BenchmarkHashSpan10000(b *testing.B) {
	e := fixed65{make([]byte, 65*10_000)}
	s := new(Span)
	b.SetBytes(int64(len(e.data)))
	b.ReportAllocs()
	for b.Loop() {
		s.Reset(0, e)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/leaf")
}

func BenchmarkVerify50(b *testing.B) {
	tree := newNaive(5000)
	p := prove(b, tree, 5000, 0, 1111, 1161)
	root := tree.root(5000, 0)
	s := new(Span)
	b.ReportAllocs()
	for b.Loop() {
		s.Reset(1111, ops{1111, 1161})
		if err := p.Verify(s, root); err != nil {
			b.Fatal(err)
		}
	}
}
