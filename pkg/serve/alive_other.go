//go:build !linux

package serve

import (
	"net"
	"time"
)

// limitUnacknowledged leaves it to the system when to give up.
func limitUnacknowledged(*net.TCPConn, time.Duration) {}
