//go:build !race

package crash

// raced says whether the race detector is on.
const raced = false
