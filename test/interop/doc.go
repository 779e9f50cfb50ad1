// Package interop holds our commands against those of commonware-sync, the
// programs whose formats we speak: its client follows our server, its server
// feeds our client, and at the end the storage on our side has to contain every
// root the other side reported.
//
// It is not the place to test the protocol in detail; the captured exchanges
// and published hashes do that without a second program. What only two running
// programs can show is that both keep going, together, while the log grows.
//
//	COMMONWARE_SYNC_BIN/client --> our server --> its directory, opened afterwards: the root at each size
//	COMMONWARE_SYNC_BIN/server --> our client --> its directory, opened afterwards: the root at each size
//
// The tests run when the variable COMMONWARE_SYNC_BIN names a directory with
// the programs server and client of commonware-sync 2026.7.1, and skip
// otherwise:
//
//	cargo install commonware-sync --version 2026.7.1 --locked --root DIR
//	COMMONWARE_SYNC_BIN=DIR/bin go test ./test/interop
package interop
