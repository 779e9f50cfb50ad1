// Package kill ends real servers and clients with SIGKILL, again and again,
// while batches are written over HTTP and a replica follows: nothing that was
// acknowledged is missing, nothing is there twice, and the roots are equal in the
// end.
//
// A few kills are part of every go test; PROOFSYNC_KILLS says how many.
package kill
