//go:build race

package crash

// raced: every step takes ten times as long, so there are fewer. What they are
// about is the same with and without the detector.
const raced = true
