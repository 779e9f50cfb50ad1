// Command client keeps a verified replica of a server's database. Run it with
// --help.
package main

import (
	"os"

	"github.com/proofsync/proofsync/pkg/app"
)

func main() { os.Exit(app.ClientMain(os.Args[1:], app.OS())) }
