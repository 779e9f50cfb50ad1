// Package targets names targets that do not rest on a server's word: those of
// signed checkpoints, and one that the operator has given.
//
// A Source stands in front of a pool of servers. What to aim at it learns from
// checkpoints, wherever they lie; operations it fetches from the pool, whose own
// targets are only hints that there may be a new checkpoint.
//
//	places (URLs, files) --notes--> merge, verify, choose --Target--> syncer --Operations--> pool
//	                                        ^                            |
//	         file CHECKPOINT <--Accept------+----------------------------+
//
// It decides whose statement is to be followed (checkpoint.Trust), which of several
// is the newest, and that none is older than one accepted before, across
// restarts. Whether the log under a target continues what is stored is shown by
// operations and proofs, which is the syncer's business.
package targets
