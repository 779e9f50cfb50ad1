// Package checkpoint is about targets that are signed: what a checkpoint says,
// how it is written, who has to have signed it, and which of two may follow the
// other.
//
// A checkpoint is a signed note (the C2SP formats signed-note and
// tlog-checkpoint): the origin, the size and the root of a log, lines of ours for
// everything else a replica has to know, and signatures of the writer and of
// witnesses.
//
//	Checkpoint --Sign--> note --Cosign--> note --Trust.Verify--> Signed --Follows(last)--> to be followed, or why not
//
// The package is pure: it takes bytes and the time and returns values. Where notes
// come from, where they are kept and what is done about them is other
// packages' business. It does not check any proof: that a root commits to what
// an older one did is shown by operations and proofs only.
package checkpoint
