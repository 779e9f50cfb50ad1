package store

import "bytes"

// Many keys in order can be found by stepping from entry to entry, or by seeking each
// of them. A seek costs about as much as nearSteps steps, so that is how many are
// taken before one seeks after all. Where that happens more often than once in
// nearPays+1 look-ups, steps are lost, and farSeeks look-ups seek at once before stepping is
// tried again.
const (
	nearSteps = 24
	nearPays  = 3
	nearMost  = 8 // successes that count
	farSeeks  = 64
)

// LatestEach is Latest of each of keys, and tells of those that have an entry
// below size, by number. Keys that ascend are found several times faster, most of all
// where they are a good part of the index.
func (x *Index) LatestEach(keys [][]byte, size uint64, found func(i int, loc uint64, kind byte)) error {
	if size == 0 {
		return nil
	}
	valid := false       // the iterator stands at the first entry not below the key before
	seeks, score := 1, 0 // look-ups that seek at once; what stepping has brought lately
	for i, key := range keys {
		x.ask(key, size)
		switch {
		case seeks > 0:
			seeks--
			valid = x.it.SeekGE(x.buf)
		case bytes.Compare(keys[i-1], key) > 0:
			valid = x.it.SeekGE(x.buf)
		default:
			var near bool
			if valid, near = x.step(valid); near {
				score = min(score+1, nearMost)
				break
			}
			valid = x.it.SeekGE(x.buf)
			if score -= nearPays; score < 0 {
				seeks, score = farSeeks, 0
			}
		}
		loc, kind, ok, err := x.entry(valid)
		if err != nil {
			return err
		}
		if ok {
			found(i, loc, kind)
		}
	}
	return nil
}

// step goes from where the iterator stands, if that is valid, to the first entry not below
// what is asked for, and says whether that was near enough.
func (x *Index) step(valid bool) (_, near bool) {
	for range nearSteps {
		if !valid || bytes.Compare(x.it.Key(), x.buf) >= 0 {
			return valid, true
		}
		valid = x.it.Next()
	}
	return valid, false
}
