// Package witness cosigns checkpoints: it signs what continues the last
// checkpoint it has signed, and nothing else. A writer that shows different
// histories to different replicas gets the signature of a witness for one of
// them only.
//
//	note ─► signatures, origin, age ─► Follows(last) ─► Extends: proof from a server ─► signed, stored, answered
//	                                              (what contradicts is refused, and kept as evidence)
//
// A witness has one log, one state and signs one note at a time. It stores what
// it signs before anybody sees it, so that neither a crash nor a power cut makes
// it forget a promise.
//
// It holds no data and says nothing about what the operations mean: only that the
// log grows at its end. Where proofs come from does not matter; they are checked.
package witness
