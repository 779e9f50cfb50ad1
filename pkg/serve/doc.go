// Package serve answers the requests of replicas from an authenticated
// database: the server side of the TCP protocol (format.md section 5).
//
// It owns the listener, one session per connection, the workers that build
// replies and the limits that keep a hostile or slow peer from costing more
// than its share. It decides nothing about what is true: the database has the
// operations and the proofs, package wire has the bytes. It does not fetch,
// verify or write anything.
//
//	conn -> reader: frames, decode, admit -> turns -> worker: view, operations, proofs -> reply queue -> writer -> conn
//	                          |                                                              |
//	                          +-- budgets: requests and bytes, per connection and in total ---+ (given back once written)
//	                          +-- limits: requests, target requests and bytes a second, per client and of all
//
// Small requests that have come together stay together: admitted at once if nothing is
// in the way, answered by one worker from one view, and written in one piece.
//
// A session reads only what it may admit. When a budget is used up its reader
// stops, the peer's TCP window fills and the peer waits; nothing that was read
// is dropped. Budgets are given back when a reply has been handed to the
// kernel, so a peer that does not read stops being served, and once it is
// WriteTimeout behind a minimal pace its connection ends. The total budget is
// shared out: small replies always pass, a connection never holds more than it
// leaves to others, and when it is used up all the same the slowest readers go
// first.
//
// A client is an identity that its certificate proves, else a host, with all its
// connections. Workers are shared out between clients, by the bytes they are
// asked for. Where rates are limited, who is too fast waits in the same way, and
// is never refused: peers of the reference take an Error for the end of
// everything. Only a request that would wait too long ends its connection.
//
// Places are shared out likewise. At the limit of one host, or of all, a
// newcomer takes the place of an idle connection, subscribers last; bytes that are no request do
// not make a connection less idle.
//
// A peer may subscribe to new targets. One goroutine makes a frame of each
// publication and wakes the writers of the sessions, which send whatever is
// newest when they get to it: nothing is queued, and nothing waits for a slow
// subscriber. Rounds of pushes are spaced by the number of subscribers, so that
// a fast writer with many of them keeps the processor to itself for the most
// part. A subscribed connection is not idle; it is found dead by the kernel.
//
// Errors never end a connection: bad requests get an Error message with a code
// a client can act on, frames that do not decode are counted and skipped, and
// only a length prefix that cannot be trusted any more closes the stream.
package serve
