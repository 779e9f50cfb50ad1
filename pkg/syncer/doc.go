// Package syncer keeps a replica in step with a source: it learns a target,
// fetches the operations that are missing, checks every answer against the
// target's root, stores what was verified and makes the new root readable in
// one step, again and again.
//
// It trusts the target it was given, and nothing else: a source that lies can
// delay a replica and never make it wrong. It does not decide which roots are
// to be trusted, serves nothing and knows nothing of the network.
//
//	           +--- follower: newer targets, polled or pushed --+
//	           v                                                |
//	target -> judge -> link -> plan -> requests -> workers -> ordered apply -> publish
//	           |        |        ^                    |
//	           |        |        +--- not verified ---+---> verdict on the peer
//	           |        +--- our peaks are not the target's: fork
//	           +--- nothing new: no request for data at all
//
// One goroutine, that of Sync, owns the iteration, its plan and the load; it
// joins every other one it starts before Sync returns.
package syncer
