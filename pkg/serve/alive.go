package serve

import (
	"net"
	"time"
)

// deadAfter is about how long a subscriber that is gone without a word keeps its
// connection.
const deadAfter = 30 * time.Second

// expectSilence makes the kernel find out whether the peer of a connection is
// still there, as no time-out of ours does while it is right to say nothing.
func expectSilence(conn net.Conn) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	const probes = 3
	interval := deadAfter / (2 * probes)
	// Where the system lacks such options, its own are good enough.
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: deadAfter / 2, Interval: interval, Count: probes})
	limitUnacknowledged(tcp, deadAfter)
}
