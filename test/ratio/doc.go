// Package ratio holds tests that notice a gross loss of speed. Absolute times say
// nothing on a machine that does other things as well; what one piece of work costs
// in comparison with another, in the same process and the same minute, does.
//
//	ours, floor, ours, floor, ... --> medians of processor time --> ratio <= bound
//
// The floor of each is what cannot be left out: the hashes of the same bytes, or
// the storage engine with the same pairs. Processor time is what is compared, as
// waiting for a core is not counted; the time that passed has a bound as well, a
// wide one, for work that waits where it should not.
//
// These are no benchmarks: sizes are small, and a loss of a third passes. What
// costs how much is for `proofsync bench`.
package ratio
