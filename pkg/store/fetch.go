package store

// Fetch calls fn with the encoded operation at each of locs, which ascend;
// op is valid during the call only. Reading many operations in their order on
// disk costs a fraction of reading them one by one.
func (r *Reader) Fetch(locs []uint64, fn func(i int, op []byte) error) error {
	for i, loc := range locs {
		if err := r.ops.moveTo(loc); err != nil {
			return err
		}
		b := &r.ops.at
		if err := fn(i, b.At(int(loc-b.First))); err != nil {
			return err
		}
	}
	return nil
}
