package fsck

import "hash/maphash"

// fingerprint stands for a set of records whatever their order: in each bucket,
// the sum of two hashes of the records that fall into it. The hashes are keyed anew for
// every run, so two sets with equal sums are equal. Which buckets differ says
// where to look.
type fingerprint [buckets]struct{ a, b, n uint64 }

const (
	bucketBits = 12
	buckets    = 1 << bucketBits
)

// fingerprinter holds the keys of the hashes. It is safe for concurrent use.
type fingerprinter struct{ a, b maphash.Seed }

func newFingerprinter() fingerprinter {
	return fingerprinter{maphash.MakeSeed(), maphash.MakeSeed()}
}

// add takes a record into f.
func (k fingerprinter) add(f *fingerprint, record []byte) {
	a := maphash.Bytes(k.a, record)
	s := &f[a>>(64-bucketBits)]
	s.a += a
	s.b += maphash.Bytes(k.b, record)
	s.n++
}

// bucket is the one a record falls into.
func (k fingerprinter) bucket(record []byte) int {
	return int(maphash.Bytes(k.a, record) >> (64 - bucketBits))
}

// merge takes the records of another fingerprint in.
func (f *fingerprint) merge(o *fingerprint) {
	for i := range f {
		f[i].a += o[i].a
		f[i].b += o[i].b
		f[i].n += o[i].n
	}
}
