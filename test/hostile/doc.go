// Package hostile holds tests of a server whose clients mean it harm, or only
// want more than their share: another client goes on being served within a
// bounded time, memory stays within its bounds, and afterwards everything is
// given back.
//
//	test process: the honest client      server process: serve.Server      attacker process, niced: one kind of attack
//	        127.0.0.1  ───────────────────────► :port ◄─────────────────────  127.0.0.2
//
// The three are processes of their own (this test's program, run again), so
// that what an attack costs its sender is neither the server's memory nor the
// honest client's time.
package hostile
