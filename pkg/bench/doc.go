// Package bench measures what proofsync does for its users, each scenario end to
// end: cold sync, catching up, following, reopening, importing, committing,
// reading, proving, serving, checking. It is for figures that can be compared
// between versions and with other clients of the same protocol; what a single
// function costs is for go test -bench beside that function.
//
// Everything measured runs in a process of its own, so that memory, processor
// time and profiles are those of the thing that was measured:
//
//	Measure --> lab (one number of operations) --> session (one variant of a scenario)
//	              | database, replica, input          | warm-up and runs
//	              | prepared once, hard-linked        v
//	              '------------------------->  child processes: database, server, replica, load, fsck
//	                                                  | answers: seconds, CPU, memory, size, root
//	Report <-- median, least, most <-- samples <------'
//
// The clock of a run is the child's own: starting processes and making
// directories is not in it. Every run is checked, by the root, the size or the
// values it has to come to: what skipped its work fails.
package bench
