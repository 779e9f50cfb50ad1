package serve

import (
	"crypto/tls"
	"log/slog"
	"net"
	"runtime"
	"time"

	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/wire"
)

// Defaults of Options.
const (
	DefaultMaxOpsPerResponse        = wire.MaxOperations
	DefaultMaxReplyBytes            = 4 << 20
	DefaultMaxConnections           = 1024
	DefaultMaxRequestsPerConnection = 256
	DefaultMaxRequestBytes          = 16 << 10
	DefaultMaxInflightBytes         = 32 << 20
	DefaultMaxTotalBytes            = 256 << 20
	DefaultReadTimeout              = 30 * time.Second
	DefaultWriteTimeout             = 30 * time.Second
	DefaultIdleTimeout              = 5 * time.Minute
	DefaultLimitWait                = 30 * time.Second
)

// minRequestBytes is what every request of the protocol fits in: the longest
// one, for a compact state, has 50 bytes.
const minRequestBytes = 64

// minDefaultPerHost keeps the default of MaxConnectionsPerHost from being in the
// way where a few machines run many clients.
const minDefaultPerHost = 128

// Options are the limits of a Server. The zero value of every field means its
// default, so Options{} is a usable server.
type Options struct {
	// MaxOpsPerResponse is the most operations in one reply, whatever the
	// request asks for. Default and upper limit 10,000: peers decode no more.
	MaxOpsPerResponse int

	// MaxReplyBytes cuts the operations of a reply, in bytes; a reply has at
	// least one operation even if that one is larger. Default 4 MiB. It is
	// lowered to what a frame can carry.
	MaxReplyBytes int

	// MaxConnections is the number of connections served at once. One more
	// takes the place of one that has been idle for a second or more, of the
	// host with the most connections. If there is none, it is closed as soon
	// as it is accepted. Default 1024.
	MaxConnections int

	// MaxConnectionsPerHost is the same bound for one host: an IPv4 address,
	// or an IPv6 network of 64 bits. One more takes the place of one of its
	// own. Default a quarter of MaxConnections, but at least 128; negative:
	// no limit, for servers behind something that hides the addresses.
	MaxConnectionsPerHost int

	// MaxRequestsPerConnection is the number of requests of one connection
	// that may be read and not yet answered. Reading stops there. Default 256.
	MaxRequestsPerConnection int

	// MaxRequestBytes is the longest frame that is looked at, and the size of
	// a connection's read buffer, in bytes. The payload of a longer frame, up
	// to the 10 MiB of the protocol, is skipped without being kept and counts
	// as not decodable. Default 16 KiB; every request fits in 64 bytes, less
	// is raised to that.
	MaxRequestBytes int

	// MaxInflightBytes bounds the replies of one connection that are being
	// built or wait to be written, in bytes. A single reply is always
	// admitted. Default 32 MiB.
	MaxInflightBytes int64

	// MaxTotalBytes is the same bound over all connections. The first 16 KiB
	// of each do not count, so that small requests are answered whatever
	// others do; of the rest a connection may hold as much as it leaves free.
	// When a request has found no room for a second, those that read slowest
	// are cut off, if they are that far behind the pace of WriteTimeout.
	// Default 256 MiB.
	MaxTotalBytes int64

	// ReadTimeout is how long a frame may take from its first byte to its
	// last. Default 30 s, negative: no limit.
	ReadTimeout time.Duration

	// WriteTimeout is how far a peer may fall behind a pace of 64 KiB/s while
	// replies wait for it: one that accepts nothing is cut off after that
	// long, one that accepts half as much after twice that. A peer that has
	// taken all there was starts anew. Default 30 s, negative: no limit.
	WriteTimeout time.Duration

	// IdleTimeout is how long a connection may stay without a request read or
	// in work; frames that do not decode are none. A subscribed one is not
	// idle. Default 5 min, negative: no limit.
	IdleTimeout time.Duration

	// Limits are the rates of everybody together, ClientLimits those of one
	// client: a request that comes too early waits, its connection is read no
	// further, and so are those of its client. Default: no limits.
	Limits, ClientLimits Limits

	// LimitWait is how long a request waits for limits; then its connection is
	// closed. Default 30 s, which is several times what a client should have
	// to wait: a limit is set below what one reply takes, or requests come on
	// many connections.
	LimitWait time.Duration

	// TLS makes every connection begin with a handshake, within ten seconds and in
	// a place like any other. nil: none. The listener must not do it itself: replies
	// are paced below TLS.
	TLS *tls.Config

	// Identify names the peer of a connection after its handshake; "" is somebody
	// without a name. Limits and turns go by it, and by the host of a peer without
	// one. nil: nobody has a name.
	Identify func(*tls.ConnectionState) string

	// Refused is told of handshakes that failed. It must not block. nil: nobody is.
	Refused func(peer net.Addr, err error)

	// Workers is the number of replies built at once, over all connections.
	// Default: two for each CPU Go may use, at least four, since some wait
	// for the disk.
	Workers int

	// Damaged is told of every error of the database that says that stored data
	// is damaged. It must not block. nil: nobody is.
	Damaged func(error)

	// Logger receives what operators should know. nil discards it.
	Logger *slog.Logger

	// Metrics counts. nil: counted nowhere.
	Metrics *Metrics

	patience time.Duration // see defaultPatience
}

// withDefaults fills in what was left zero and pulls the rest into range.
func (o Options) withDefaults() Options {
	o.MaxOpsPerResponse = min(positive(o.MaxOpsPerResponse, DefaultMaxOpsPerResponse), wire.MaxOperations)
	o.MaxReplyBytes = min(positive(o.MaxReplyBytes, DefaultMaxReplyBytes), wire.MaxFrame-maxOverhead)
	o.MaxConnections = positive(o.MaxConnections, DefaultMaxConnections)
	switch {
	case o.MaxConnectionsPerHost == 0:
		o.MaxConnectionsPerHost = max(o.MaxConnections/4, minDefaultPerHost)
	case o.MaxConnectionsPerHost < 0:
		o.MaxConnectionsPerHost = 0 // none
	}
	o.MaxRequestsPerConnection = positive(o.MaxRequestsPerConnection, DefaultMaxRequestsPerConnection)
	o.MaxRequestBytes = max(positive(o.MaxRequestBytes, DefaultMaxRequestBytes), minRequestBytes)
	o.MaxInflightBytes = positive(o.MaxInflightBytes, DefaultMaxInflightBytes)
	o.MaxTotalBytes = positive(o.MaxTotalBytes, DefaultMaxTotalBytes)
	o.ReadTimeout = timeout(o.ReadTimeout, DefaultReadTimeout)
	o.WriteTimeout = timeout(o.WriteTimeout, DefaultWriteTimeout)
	o.IdleTimeout = timeout(o.IdleTimeout, DefaultIdleTimeout)
	o.LimitWait = positive(o.LimitWait, DefaultLimitWait)
	o.patience = positive(o.patience, defaultPatience)
	o.Workers = positive(o.Workers, max(4, 2*runtime.GOMAXPROCS(0)))
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	return o
}

func positive[T ~int | ~int64](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// timeout makes 0 the default and anything negative 0, which then means none.
func timeout(d, def time.Duration) time.Duration {
	switch {
	case d == 0:
		return def
	case d < 0:
		return 0
	}
	return d
}

// maxOverhead bounds everything in a data reply that is not an operation: tag,
// id, varints, and the digests of proof and pins. A proof has at most one
// digest for each of 62 peaks and 62 siblings on either side of its range.
const maxOverhead = 64 + (3*62+wire.MaxPins)*32

// _ fails to compile when the largest operation no longer fits a frame.
const _ = uint(wire.MaxFrame - maxOverhead - operation.MaxOperation)
