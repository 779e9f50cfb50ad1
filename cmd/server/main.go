// Command server serves an authenticated database to clients that verify every
// answer. Run it with --help.
package main

import (
	"os"

	"github.com/proofsync/proofsync/pkg/app"
)

func main() { os.Exit(app.ServerMain(os.Args[1:], app.OS())) }
