// Command proofsync is the operator's tool: it imports data into a storage
// directory and reads one, shows the whole system at work, and measures it. It
// is not the service: that is what the commands server and client are for.
package main

import (
	"os"

	"github.com/proofsync/proofsync/pkg/telemetry"
)

func main() {
	telemetry.TuneMemory()
	os.Exit(run(os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}))
}
