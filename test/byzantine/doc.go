// Package byzantine lets servers lie in every way we could think of, over real
// connections, to a real client that trusts a target and nobody else: beside an
// honest server, and alone.
//
//	honest log --> answer --behaviour--> bytes --TCP--> Peer -> Pool -> syncer -> database on disk
//	     |                                                 ^
//	     '------------- trusted target --------------------'      afterwards: fsck, and every operation compared
//
// Whatever the server does, the client never holds, and never makes readable, an
// operation that is not under its trusted root, and its memory stays bounded. With
// an honest server in the list it completes within seconds; alone it completes
// once the server becomes honest.
//
// Every go test runs each behaviour once, from a fixed seed.
// PROOFSYNC_BYZANTINE=long mixes them at random for minutes.
package byzantine
