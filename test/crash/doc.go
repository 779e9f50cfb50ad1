// Package crash proves that nothing is lost: every kind of write is done on a
// disk in memory that loses its power at every point where something becomes
// durable, and that fails at every operation. What is left is opened again and
// has to be a state that was acknowledged, or the next one, whole and able to
// go on.
//
//	dry run --> ledger: every state of the log, its root and its keys
//	                              |
//	kind --> process on a Disk ---+--> clones (power cuts) ----> survivor: opens, right, goes on
//	                              '--> operations that fail ---> reported? then the same
//
// A part of it runs with every go test; PROOFSYNC_CRASH=all does everything.
package crash
