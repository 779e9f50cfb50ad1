// Package config holds the settings of the binaries: one struct for each,
// whose tags are the single source of variable names, flags, defaults, bounds,
// the help text and docs/CONFIG.md.
//
// It turns arguments and environment into a checked value and knows nothing of
// what the values are used for; it starts nothing and touches no file.
//
//	defaults < PROOFSYNC_… variables (caarlos0/env) < flags (pflag) --> Validate --> *Server, *Client
//	the same tags (envconfig) --> --help, docs/CONFIG.md, refusal of unknown variables
//
// Tags of a field:
//
//	env, envconfig   name of the variable without the prefix PROOFSYNC_; both are equal
//	default          value when neither flag nor variable is given; an empty variable counts as not given
//	flag, short      name of the flag and its one-letter form
//	min, max         bounds, checked by Validate, written in the syntax of the field
//	desc             one sentence for help and documentation
package config

import (
	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/operation"
)

// Prefix starts the name of every variable, followed by an underscore.
const Prefix = "PROOFSYNC"

// Common is what server and client share.
type Common struct {
	DB              Family    `env:"DB" envconfig:"DB" default:"any" flag:"db" desc:"family of the database"`
	Encoding        Encoding  `env:"ENCODING" envconfig:"ENCODING" default:"fixed" flag:"encoding" desc:"encoding of its operations: fixed has 32-byte keys and values, variable has byte strings"`
	StorageDir      Path      `env:"STORAGE_DIR" envconfig:"STORAGE_DIR" default:"" flag:"storage-dir" short:"d" desc:"directory of the database; without one, a new directory below the system's temporary folder, named in the log"`
	Host            Host      `env:"HOST" envconfig:"HOST" default:"127.0.0.1" flag:"host" desc:"address every listener binds to; containers set 0.0.0.0"`
	CacheSize       Size      `env:"CACHE_SIZE" envconfig:"CACHE_SIZE" default:"64MiB" flag:"cache-size" min:"1MiB" max:"1TiB" desc:"memory for the block cache of the database"`
	Retain          Retain    `env:"RETAIN" envconfig:"RETAIN" default:"all" flag:"retain" desc:"history kept below the inactivity floor: all, the newest N operations, or those younger than an age such as 12h or 30d; the rest is deleted for good, and with it the keys of an immutable database that were set there; what a client is fetching must not go, so keep more than is written during a sync"`
	MinFreeBytes    FreeBytes `env:"MIN_FREE_BYTES" envconfig:"MIN_FREE_BYTES" default:"auto" flag:"min-free-bytes" desc:"space that has to stay free on the volume of the storage directory: below, nothing is written until there is more, and reading goes on; auto is 5 % of the volume, from 128MiB to 1GiB, and at most a quarter of it; 0 holds nothing back"`
	LogFormat       LogFormat `env:"LOG_FORMAT" envconfig:"LOG_FORMAT" default:"text" flag:"log-format" desc:"form of the log lines on standard error"`
	LogLevel        LogLevel  `env:"LOG_LEVEL" envconfig:"LOG_LEVEL" default:"info" flag:"log-level" desc:"least severe log lines to write"`
	ShutdownTimeout Duration  `env:"SHUTDOWN_TIMEOUT" envconfig:"SHUTDOWN_TIMEOUT" default:"10s" flag:"shutdown-timeout" min:"1ms" desc:"most time between SIGTERM and the end of the process"`
	Pprof           Bool      `env:"PPROF" envconfig:"PPROF" default:"false" flag:"pprof" desc:"offer Go's profiles under /debug/pprof/ on the metrics port: they show what the program does, and taking one costs it time"`
}

// HTTP is the HTTP API of either process.
type HTTP struct {
	MaxRequests    Count    `env:"HTTP_MAX_REQUESTS" envconfig:"HTTP_MAX_REQUESTS" default:"256" flag:"http-max-requests" min:"1" max:"1000000" desc:"most API requests in work at once; further ones wait a moment and are then refused"`
	MaxHTTPConns   Count    `env:"HTTP_MAX_CONNECTIONS" envconfig:"HTTP_MAX_CONNECTIONS" default:"6144" flag:"http-max-connections" min:"1" max:"1000000" desc:"most connections to the HTTP port at once; the next one takes the place of one without a request, or is closed"`
	MaxWatchers    Count    `env:"HTTP_MAX_WATCHERS" envconfig:"HTTP_MAX_WATCHERS" default:"4096" flag:"http-max-watchers" max:"1000000" desc:"most open watch streams; 0 allows none"`
	Rate           Count    `env:"HTTP_RATE" envconfig:"HTTP_RATE" default:"0" flag:"http-rate" max:"1000000000" desc:"most API requests a second from everybody together; 0 sets no limit"`
	RatePerHost    Count    `env:"HTTP_RATE_PER_HOST" envconfig:"HTTP_RATE_PER_HOST" default:"0" flag:"http-rate-per-host" max:"1000000000" desc:"the same for one client: who proved an identity by a certificate, else one IPv4 address or IPv6 /64 network; 0 sets no limit"`
	BytesRate      Size     `env:"HTTP_BYTES" envconfig:"HTTP_BYTES" default:"0" flag:"http-bytes" max:"1TiB" desc:"most bytes of API answers a second for everybody together; an answer that was begun is completed, and the next requests are refused; 0 sets no limit"`
	BytesPerHost   Size     `env:"HTTP_BYTES_PER_HOST" envconfig:"HTTP_BYTES_PER_HOST" default:"0" flag:"http-bytes-per-host" max:"1TiB" desc:"the same for one client, told apart as by --http-rate-per-host; 0 sets no limit"`
	RequestTimeout Duration `env:"HTTP_TIMEOUT" envconfig:"HTTP_TIMEOUT" default:"30s" flag:"http-timeout" min:"1ms" desc:"most time an API request may take to arrive and to be answered; watch streams end when a client does not read for this long"`
	CORSOrigins    Origins  `env:"HTTP_CORS_ORIGINS" envconfig:"HTTP_CORS_ORIGINS" default:"" flag:"http-cors-origins" desc:"web origins whose pages may use the API, such as https://example.org; repeat the flag or separate by commas; * is any; none by default"`
}

// TLS is how either process proves who it is, and whom it believes.
type TLS struct {
	CertFile   Path       `env:"TLS_CERT_FILE" envconfig:"TLS_CERT_FILE" default:"" flag:"tls-cert-file" desc:"certificate of this process in PEM, with those above it: listeners but the metrics port speak TLS 1.3 and nothing else, and a client shows it to servers that ask; read again when it changes"`
	KeyFile    Path       `env:"TLS_KEY_FILE" envconfig:"TLS_KEY_FILE" default:"" flag:"tls-key-file" desc:"its private key in PEM; a new one counts once it fits the certificate"`
	CAFile     Path       `env:"TLS_CA_FILE" envconfig:"TLS_CA_FILE" default:"" flag:"tls-ca-file" desc:"certificates in PEM that others are verified with; on a client, connections to servers use TLS if and only if it is given; read again when it changes"`
	ClientAuth ClientAuth `env:"TLS_CLIENT_AUTH" envconfig:"TLS_CLIENT_AUTH" default:"none" flag:"tls-client-auth" desc:"certificates of those who connect to this process: none asks for none, request verifies them where there are some, require refuses who has none"`
	Allow      Identities `env:"TLS_ALLOW" envconfig:"TLS_ALLOW" default:"" flag:"tls-allow" desc:"identities that are let in: on a server those of its clients (needs --tls-client-auth require), on a client those of its servers, instead of their host names; repeat the flag or separate by commas; without it, all whom a CA has vouched for"`
}

// Codec is the family and encoding that were asked for.
func (c *Common) Codec() operation.Codec {
	return operation.NewCodec(operation.Family(c.DB), operation.Encoding(c.Encoding))
}

// Server configures cmd/server.
type Server struct {
	Common
	HTTP
	TLS
	Port              Port         `env:"PORT" envconfig:"PORT" default:"8080" flag:"port" short:"p" desc:"port of the sync protocol; 0 picks a free one and logs it"`
	MetricsPort       Port         `env:"METRICS_PORT" envconfig:"METRICS_PORT" default:"9090" flag:"metrics-port" short:"m" desc:"port of metrics and probes; 0 picks a free one and logs it"`
	HTTPPort          OptionalPort `env:"HTTP_PORT" envconfig:"HTTP_PORT" default:"8081" flag:"http-port" desc:"port of the HTTP API and the status page; 0 picks a free one and logs it, off offers them on the socket in the storage directory only"`
	WriteTokenFile    Path         `env:"WRITE_TOKEN_FILE" envconfig:"WRITE_TOKEN_FILE" default:"" flag:"write-token-file" desc:"file with the bearer token that lets HTTP requests write, 16 characters or more; read again when it changes; without it nobody writes over the network"`
	MaxBody           Size         `env:"HTTP_MAX_BODY" envconfig:"HTTP_MAX_BODY" default:"16MiB" flag:"http-max-body" min:"1KiB" max:"1GiB" desc:"largest batch that is taken as one JSON document, in bytes; streams of JSON Lines have no limit"`
	RememberKeys      Duration     `env:"IDEMPOTENCY_TIME" envconfig:"IDEMPOTENCY_TIME" default:"10m" flag:"idempotency-time" min:"1s" max:"168h" desc:"how long the idempotency key of a batch is remembered, across restarts"`
	InitialOps        Count        `env:"INITIAL_OPS" envconfig:"INITIAL_OPS" default:"100" flag:"initial-ops" short:"i" max:"1000000000" desc:"operations a new database begins with, one commit for every ten; a database that holds operations gets none"`
	OpInterval        Duration     `env:"OP_INTERVAL" envconfig:"OP_INTERVAL" default:"100ms" flag:"op-interval" short:"t" desc:"time between two generated batches; 0 generates none"`
	OpsPerInterval    Count        `env:"OPS_PER_INTERVAL" envconfig:"OPS_PER_INTERVAL" default:"5" flag:"ops-per-interval" short:"o" min:"1" max:"1000000" desc:"operations in a generated batch"`
	Seed              Seed         `env:"SEED" envconfig:"SEED" default:"random" flag:"seed" desc:"seed of generated operations; the same seed gives the same roots"`
	Import            Paths        `env:"IMPORT" envconfig:"IMPORT" default:"" flag:"import" desc:"file or directory to import before operations are generated (JSON Lines, CSV, directory tree; - is standard input); repeat the flag, or separate paths by commas in the variable"`
	FloorPolicy       FloorPolicy  `env:"FLOOR_POLICY" envconfig:"FLOOR_POLICY" default:"keep" flag:"floor-policy" desc:"inactivity floor of immutable commits: keep leaves it where it is, retain:N keeps the newest N operations above it"`
	Epoch             Count        `env:"EPOCH" envconfig:"EPOCH" default:"0" flag:"epoch" desc:"epoch to record in the storage directory: one more than before, for a writer that came back without commits it had acknowledged, as from a backup; it never goes down; 0 keeps the recorded one"`
	CheckpointKeyFile Path         `env:"CHECKPOINT_KEY_FILE" envconfig:"CHECKPOINT_KEY_FILE" default:"" flag:"checkpoint-key-file" desc:"file with the private keys that sign every published commit, one in a line, all of which sign; read again when it changes; needs --checkpoint-origin; proofsync keys checkpoint makes one"`
	CheckpointSigner  Text         `env:"CHECKPOINT_SIGNER_COMMAND" envconfig:"CHECKPOINT_SIGNER_COMMAND" default:"" flag:"checkpoint-signer-command" desc:"program that signs in place of a key file: it reads the text of a checkpoint and prints the signed note, or its signature lines, within 10 seconds; split at spaces, no shell"`
	CheckpointOrigin  Text         `env:"CHECKPOINT_ORIGIN" envconfig:"CHECKPOINT_ORIGIN" default:"" flag:"checkpoint-origin" desc:"name of the log in its checkpoints, such as example.org/orders; no two logs may share one"`
	CheckpointState   Path         `env:"CHECKPOINT_STATE_FILE" envconfig:"CHECKPOINT_STATE_FILE" default:"" flag:"checkpoint-state-file" desc:"file that remembers the last checkpoint that was signed, so that a writer which has lost commits does not sign another history; by default SIGNED in the storage directory; on another volume it is not lost with that one"`
	CheckpointWitness URLs         `env:"CHECKPOINT_WITNESS" envconfig:"CHECKPOINT_WITNESS" default:"" flag:"checkpoint-witness" desc:"witnesses to send every checkpoint to for their signatures, http(s)://host:port; repeat the flag or separate by commas"`
	MaxTargetAge      Duration     `env:"MAX_TARGET_AGE" envconfig:"MAX_TARGET_AGE" default:"1h" flag:"max-target-age" min:"3s" desc:"how old a checkpoint may be for clients: the newest commit is signed again every third of it"`
	MaxOpsPerResponse Count        `env:"MAX_OPS_PER_RESPONSE" envconfig:"MAX_OPS_PER_RESPONSE" default:"10000" flag:"max-ops-per-response" min:"1" max:"10000" desc:"most operations in one answer"`
	MaxConnections    Count        `env:"MAX_CONNECTIONS" envconfig:"MAX_CONNECTIONS" default:"1024" flag:"max-connections" min:"1" max:"1000000" desc:"most connections at once; the next one takes the place of an idle one, or is closed"`
	MaxConnsPerHost   Count        `env:"MAX_CONNECTIONS_PER_HOST" envconfig:"MAX_CONNECTIONS_PER_HOST" default:"256" flag:"max-connections-per-host" max:"1000000" desc:"the same for one IPv4 address or IPv6 /64 network; 0 sets no limit, for servers behind a proxy that hides the addresses"`
	MaxRequests       Count        `env:"MAX_REQUESTS_PER_CONNECTION" envconfig:"MAX_REQUESTS_PER_CONNECTION" default:"256" flag:"max-requests-per-connection" min:"1" max:"1000000" desc:"most requests of one client in work at once; further ones wait"`
	MaxConnBytes      Size         `env:"MAX_CONNECTION_BYTES" envconfig:"MAX_CONNECTION_BYTES" default:"32MiB" flag:"max-connection-bytes" min:"64KiB" max:"1TiB" desc:"most bytes of answers waiting for one client"`
	MaxTotalBytes     Size         `env:"MAX_TOTAL_BYTES" envconfig:"MAX_TOTAL_BYTES" default:"256MiB" flag:"max-total-bytes" min:"64KiB" max:"1TiB" desc:"most bytes of answers waiting for all clients together, beside 16KiB for each connection; when it is used up, the slowest readers are disconnected"`
	LimitRequests     Count        `env:"LIMIT_REQUESTS" envconfig:"LIMIT_REQUESTS" default:"0" flag:"limit-requests" max:"1000000000" desc:"most requests of the sync protocol a second from all clients together; further ones wait, none is refused; 0 sets no limit"`
	LimitRequestsEach Count        `env:"LIMIT_REQUESTS_PER_CLIENT" envconfig:"LIMIT_REQUESTS_PER_CLIENT" default:"0" flag:"limit-requests-per-client" max:"1000000000" desc:"the same for one client: who proved an identity by a certificate, else one IPv4 address or IPv6 /64 network; 0 sets no limit"`
	LimitTargets      Count        `env:"LIMIT_TARGET_REQUESTS" envconfig:"LIMIT_TARGET_REQUESTS" default:"0" flag:"limit-target-requests" max:"1000000000" desc:"most requests a second for anything but operations, such as the newest target, from all clients together; 0 sets no limit"`
	LimitTargetsEach  Count        `env:"LIMIT_TARGET_REQUESTS_PER_CLIENT" envconfig:"LIMIT_TARGET_REQUESTS_PER_CLIENT" default:"1000" flag:"limit-target-requests-per-client" max:"1000000000" desc:"the same for one client; 0 sets no limit, for servers behind a proxy that hides the addresses of very many"`
	LimitBytes        Size         `env:"LIMIT_BYTES" envconfig:"LIMIT_BYTES" default:"0" flag:"limit-bytes" max:"1TiB" desc:"most bytes of answers a second for all clients together, at least 256KiB; 0 sets no limit"`
	LimitBytesEach    Size         `env:"LIMIT_BYTES_PER_CLIENT" envconfig:"LIMIT_BYTES_PER_CLIENT" default:"0" flag:"limit-bytes-per-client" max:"1TiB" desc:"the same for one client, at least 256KiB; 0 sets no limit"`
	LimitWait         Duration     `env:"LIMIT_WAIT" envconfig:"LIMIT_WAIT" default:"30s" flag:"limit-wait" min:"1ms" desc:"how long a request waits for these limits before its connection is closed"`
	ReadTimeout       Duration     `env:"READ_TIMEOUT" envconfig:"READ_TIMEOUT" default:"30s" flag:"read-timeout" min:"1ms" desc:"most time a client may take to send a request it has begun"`
	WriteTimeout      Duration     `env:"WRITE_TIMEOUT" envconfig:"WRITE_TIMEOUT" default:"30s" flag:"write-timeout" min:"1ms" desc:"how far a client may fall behind receiving 64KiB of its answers a second; one that receives nothing is disconnected after this long"`
	IdleTimeout       Duration     `env:"IDLE_TIMEOUT" envconfig:"IDLE_TIMEOUT" default:"5m" flag:"idle-timeout" min:"1ms" desc:"a client that asks nothing for this long is disconnected; bytes that are no request do not count"`
}

// Client configures cmd/client.
type Client struct {
	Common
	HTTP
	TLS
	Trust
	ServerName       OptionalHost `env:"TLS_SERVER_NAME" envconfig:"TLS_SERVER_NAME" default:"" flag:"tls-server-name" desc:"name that certificates of servers have to be for, instead of the host in --server"`
	Servers          Addresses    `env:"SERVER" envconfig:"SERVER" default:"127.0.0.1:8080" flag:"server" short:"s" desc:"servers to follow, host:port with a name or an address; a name with several addresses is as many servers; repeat the flag or separate by commas"`
	MetricsPort      Port         `env:"METRICS_PORT" envconfig:"METRICS_PORT" default:"9091" flag:"metrics-port" short:"m" desc:"port of metrics and probes; 0 picks a free one and logs it"`
	HTTPPort         OptionalPort `env:"HTTP_PORT" envconfig:"HTTP_PORT" default:"8082" flag:"http-port" desc:"port of the HTTP API and the status page; 0 picks a free one and logs it, off offers them on the socket in the storage directory only"`
	Follow           Bool         `env:"FOLLOW" envconfig:"FOLLOW" default:"false" flag:"follow" short:"f" desc:"have servers push new targets, and sync at once; the sync interval goes on as a fallback"`
	BatchSize        Count        `env:"BATCH_SIZE" envconfig:"BATCH_SIZE" default:"50" flag:"batch-size" short:"b" min:"1" max:"10000" desc:"most operations in one request"`
	TargetInterval   Duration     `env:"TARGET_UPDATE_INTERVAL" envconfig:"TARGET_UPDATE_INTERVAL" default:"1s" flag:"target-update-interval" short:"t" min:"1ms" desc:"time between two questions for the newest target during a sync"`
	SyncInterval     Duration     `env:"SYNC_INTERVAL" envconfig:"SYNC_INTERVAL" default:"10s" flag:"sync-interval" short:"i" min:"1ms" desc:"pause between a completed sync and the next"`
	MaxOutstanding   Count        `env:"MAX_OUTSTANDING_REQUESTS" envconfig:"MAX_OUTSTANDING_REQUESTS" default:"0" flag:"max-outstanding-requests" short:"r" max:"1000000" desc:"most requests in flight; 0 lets the byte budget decide"`
	MaxInflightBytes Size         `env:"MAX_INFLIGHT_BYTES" envconfig:"MAX_INFLIGHT_BYTES" default:"32MiB" flag:"max-inflight-bytes" min:"64KiB" max:"1TiB" desc:"most bytes of answers expected or being checked at once"`
	RequestTimeout   Duration     `env:"REQUEST_TIMEOUT" envconfig:"REQUEST_TIMEOUT" default:"5s" flag:"request-timeout" min:"10ms" desc:"most time a server may take to answer"`
	OnFork           OnFork       `env:"ON_FORK" envconfig:"ON_FORK" default:"halt" flag:"on-fork" desc:"when a server's history contradicts ours: halt keeps serving what was verified, rebuild starts over from the server's history"`
	OnCorruption     OnCorruption `env:"ON_CORRUPTION" envconfig:"ON_CORRUPTION" default:"rebuild" flag:"on-corruption" desc:"when stored data is found to be damaged: rebuild sets it aside and fetches everything anew, halt changes nothing and waits for somebody"`
	Once             Bool         `env:"ONCE" envconfig:"ONCE" default:"false" flag:"once" desc:"exit after one completed sync"`
	Deadline         Duration     `env:"DEADLINE" envconfig:"DEADLINE" default:"0" flag:"deadline" desc:"with --once, give up after this long; 0 waits for ever"`
	ReadyPolicy      ReadyPolicy  `env:"READY_POLICY" envconfig:"READY_POLICY" default:"serving" flag:"ready-policy" desc:"when /readyz says yes: serving, once a verified root is readable; max-lag, while it is also close enough to the server's"`
	MaxLag           Count        `env:"MAX_LAG" envconfig:"MAX_LAG" default:"10000" flag:"max-lag" min:"1" desc:"with --ready-policy max-lag, operations the replica may be behind"`
	MaxLagFor        Duration     `env:"MAX_LAG_FOR" envconfig:"MAX_LAG_FOR" default:"30s" flag:"max-lag-for" desc:"with --ready-policy max-lag, time it may be further behind before it stops being ready"`
}

// Tool holds the variables that only the operator's tool has: defaults of flags
// that many of its commands share. The commands read and check them.
type Tool struct {
	URL       Text `env:"URL" envconfig:"URL" default:"" flag:"url" desc:"address of the HTTP API of a server or client, http(s)://host:port or unix:///path, instead of a storage directory"`
	TokenFile Path `env:"TOKEN_FILE" envconfig:"TOKEN_FILE" default:"" flag:"token-file" desc:"file with the bearer token for writes over HTTP"`
	Output    Text `env:"OUTPUT" envconfig:"OUTPUT" default:"" flag:"output" desc:"form of results: table for people, json for programs"`
}

// minLimitBytes is the lowest limit of bytes a second: with less, the largest
// answers would wait too long.
const minLimitBytes Size = 256 << 10

// Validate checks the bounds of every field and that they fit together. The error is a *UsageError.
func (s *Server) Validate() error {
	if err := checkBounds(s); err != nil {
		return err
	}
	wrong := func(flag, value, reason string) error {
		return &UsageError{Name: nameOf(s, flag), Value: value, Reason: reason}
	}
	for _, limit := range []struct {
		flag string
		Size
	}{{"limit-bytes", s.LimitBytes}, {"limit-bytes-per-client", s.LimitBytesEach}} {
		if limit.Size != 0 && limit.Size < minLimitBytes {
			least := minLimitBytes
			return wrong(limit.flag, limit.Size.String(), "want 0 for no limit, or at least "+least.String())
		}
	}
	signs := s.CheckpointKeyFile != "" || s.CheckpointSigner != ""
	switch {
	case s.CheckpointKeyFile != "" && s.CheckpointSigner != "":
		return wrong("checkpoint-signer-command", string(s.CheckpointSigner), "takes the place of --checkpoint-key-file: one of them expected")
	case signs && s.CheckpointOrigin == "":
		return wrong("checkpoint-origin", "", "is missing: what is signed has to name the log, such as example.org/orders")
	case !signs && s.CheckpointOrigin != "":
		return wrong("checkpoint-origin", string(s.CheckpointOrigin), "needs --checkpoint-key-file or --checkpoint-signer-command")
	case !signs && s.CheckpointState != "":
		return wrong("checkpoint-state-file", string(s.CheckpointState), "needs --checkpoint-key-file or --checkpoint-signer-command")
	case !signs && len(s.CheckpointWitness) > 0:
		return wrong("checkpoint-witness", s.CheckpointWitness.String(), "needs --checkpoint-key-file or --checkpoint-signer-command")
	}
	if s.CheckpointOrigin != "" {
		if err := checkpoint.CheckOrigin(string(s.CheckpointOrigin)); err != nil {
			return wrong("checkpoint-origin", "", err.Error())
		}
	}
	if len(s.Allow) > 0 && s.ClientAuth != ClientAuthRequire {
		return &UsageError{Name: nameOf(s, "tls-allow"), Value: s.Allow.String(), Reason: "needs --tls-client-auth require: whoever has no certificate would be let in"}
	}
	return s.TLS.check(s)
}

// Validate checks the bounds of every field and that they fit together. The error is a *UsageError.
func (c *Client) Validate() error {
	if err := checkBounds(c); err != nil {
		return err
	}
	if c.Deadline != 0 && !bool(c.Once) {
		return &UsageError{Name: nameOf(c, "deadline"), Value: c.Deadline.String(), Reason: "needs --once"}
	}
	if c.CAFile == "" {
		if len(c.Allow) > 0 {
			return &UsageError{Name: nameOf(c, "tls-allow"), Value: c.Allow.String(), Reason: "needs --tls-ca-file"}
		}
		if c.ServerName != "" {
			return &UsageError{Name: nameOf(c, "tls-server-name"), Value: string(c.ServerName), Reason: "needs --tls-ca-file"}
		}
	}
	if err := c.TLS.check(c); err != nil {
		return err
	}
	return c.Trust.validate(c)
}
