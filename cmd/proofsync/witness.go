package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/certs"
	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/config"
	"github.com/proofsync/proofsync/pkg/notary"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/telemetry"
	"github.com/proofsync/proofsync/pkg/witness"
)

// witnessing are the flags of witness.
type witnessing struct {
	trustedKeys
	logging
	secure                                certificates
	keyFile, origin, state, listen, first string
	metricsListen                         string // empty: no port of their own
	servers                               []string
	firstUse                              bool
	maxAge                                time.Duration
}

func newWitness() *cobra.Command {
	var w witnessing
	cmd := &cobra.Command{
		Use:   "witness --key-file FILE --origin ORIGIN --trusted-key KEY... --server HOST:PORT... --state FILE [--first NOTE | --first-use]",
		Short: "cosign the checkpoints of a writer, as long as they are of one history",
		Long: `Run a witness: it takes checkpoints over HTTP (POST /v1/cosign, which server sends
to --checkpoint-witness) and returns them with its signature, if they continue the
last one it has signed. That is proven by operations from the sync port of any
server or replica, which need not be trusted.

What it signs is stored in --state before anybody sees it. The state belongs to the
key: never run two witnesses with one key, and never go back to an old copy of it.
A new witness needs to know where to begin: --first is a checkpoint that its first
one has to continue, --first-use believes the first that comes.

A checkpoint that contradicts what was signed is refused, logged, and kept beside
the state with what proves it (FILE.fork-*). One of a higher epoch is signed, since
the writer's key says so, and logged as an error for people to look at.

With --tls-ca-file it speaks TLS to the servers, which are verified with it; with
--tls-cert-file and --tls-key-file also on its own port.

The last checkpoint signed is answered at GET /v1/checkpoint, and /livez, /readyz
and /metrics are on the same port, and with --metrics-listen also on one that never
speaks TLS, for probes and scrapers.`,
		Example: `  proofsync keys checkpoint --name witness.example.org/1 --out witness.key
  proofsync witness --key-file witness.key --origin example.org/orders --trusted-key "$(cat writer.pub)" \
    --server 10.0.0.7:8080 --state ./witness.state --listen 0.0.0.0:8083 --first note`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return w.run(cmd) },
	}
	f := cmd.Flags()
	keyFileFlag(cmd, &w.keyFile)
	w.trustedKeys.register(cmd, "public key of the writer, whose checkpoints are signed")
	f.StringVar(&w.origin, "origin", "", "the log that is witnessed, such as example.org/orders")
	f.StringSliceVarP(&w.servers, "server", "s", nil, "where proofs come from: host:port of the sync protocol; repeat for several")
	f.StringVar(&w.state, "state", "", "file with the last checkpoint that was signed")
	f.StringVar(&w.listen, "listen", "127.0.0.1:8083", "address to listen on; port 0 picks a free one and logs it")
	f.StringVar(&w.metricsListen, "metrics-listen", "", "address of a second port, for metrics and probes alone and without TLS; empty: there is none")
	f.StringVar(&w.first, "first", "", "with a new state, a file with the checkpoint that the first one has to continue")
	f.BoolVar(&w.firstUse, "first-use", false, "with a new state, believe the first checkpoint that comes")
	f.DurationVar(&w.maxAge, "max-target-age", time.Hour, "how old a checkpoint may be when it comes")
	w.secure.register(cmd)
	w.logging.register(cmd, "info")
	return cmd
}

func (w *witnessing) check() error {
	switch {
	case w.keyFile == "":
		return &usageError{errNoKeyFile}
	case len(w.given) == 0:
		return usagef("--trusted-key is missing: the public key of the writer")
	case len(w.servers) == 0:
		return usagef("--server is missing: host:port of the sync protocol, where proofs come from")
	case w.state == "":
		return usagef("--state is missing: the file in which the witness keeps what it has signed")
	case w.first != "" && w.firstUse:
		return usagef("--first and --first-use exclude each other")
	case w.maxAge <= 0:
		return usagef("--max-target-age %s: more than 0s expected", w.maxAge)
	}
	if err := checkpoint.CheckOrigin(w.origin); err != nil {
		return usagef("--origin: %w", err)
	}
	return nil
}

func (w *witnessing) run(cmd *cobra.Command) (err error) {
	if err := w.check(); err != nil {
		return err
	}
	log, err := w.logger(cmd)
	if err != nil {
		return err
	}
	trusted, err := w.keys()
	if err != nil {
		return err
	}
	keys, err := notary.OpenKeyFile(w.keyFile, log, nil)
	if err != nil {
		return err
	}
	state, err := witness.OpenState(w.state)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	// How operations are written is said by each request.
	reg := telemetry.NewRegistry(telemetry.Build())
	secure, err := w.secure.load(cmd, certs.Options{Logger: log, Metrics: certs.NewMetrics(reg)})
	if err != nil {
		return err
	}
	pool, err := openSources(cmd, w.servers, secure, operation.Codec{}, log)
	if err != nil {
		return err
	}
	defer pool.Close() //nolint:errcheck // nothing is lost with its connections
	o := witness.Options{
		Origin: w.origin, Keys: trusted, Own: keys.Public(), Cosign: keys.Cosign, State: state, Source: pool,
		FirstUse: w.firstUse, MaxAge: w.maxAge, Logger: log, Metrics: witness.NewMetrics(reg),
	}
	if w.first != "" {
		if o.First, err = os.ReadFile(w.first); err != nil {
			return err
		}
	}
	wit, err := witness.New(o)
	if errors.Is(err, witness.ErrNoFirst) {
		return usagef("%w: --first or --first-use expected", err)
	}
	if err != nil {
		return err
	}
	var answers *tls.Config // nil: in plaintext
	if secure != nil {
		answers = secure.ServerConfig(certs.ProtoHTTP)
		ctx, cancel := context.WithCancel(cmd.Context())
		var watch sync.WaitGroup
		defer watch.Wait()
		defer cancel()
		watch.Go(func() { _ = secure.Run(ctx) })
	}
	doors := []door{{"witness", "--listen", w.listen, answers, wit.Handler(reg)}}
	if w.metricsListen != "" {
		doors = append(doors, door{"metrics and probes", "--metrics-listen", w.metricsListen, nil, witness.Probes(reg)})
	}
	return listenAndServe(cmd.Context(), doors, log)
}

// stopTime is how long requests have to be answered when the process ends.
const stopTime = 5 * time.Second

// door is a port of the process.
type door struct {
	what    string // for the log
	flag    string // for errors
	addr    string
	secure  *tls.Config // nil: in plaintext
	handler http.Handler
}

// listenAndServe opens all doors, or none, and answers until the context ends or
// one of them fails.
func listenAndServe(ctx context.Context, doors []door, log *slog.Logger) (err error) {
	var listeners []net.Listener
	for _, d := range doors {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", d.addr)
		if err != nil {
			for _, open := range listeners {
				_ = open.Close()
			}
			return fmt.Errorf("%s: %w", d.flag, err)
		}
		listeners = append(listeners, l)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var serving sync.WaitGroup
	var servers []*http.Server
	for i, d := range doors {
		l := listeners[i]
		log.Info(d.what+" listening", "addr", l.Addr().String(), "tls", d.secure != nil)
		if d.secure != nil {
			l = tls.NewListener(l, d.secure)
		}
		s := witness.NewServer(d.handler, log)
		servers = append(servers, s)
		serving.Go(func() {
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				cancel(fmt.Errorf("%s: %w", d.flag, err))
			}
		})
	}
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = cause
	}
	stop, release := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer release()
	for _, s := range servers {
		if e := s.Shutdown(stop); e != nil {
			err = errors.Join(err, e, s.Close())
		}
	}
	serving.Wait()
	log.Info("witness stopped")
	return err
}

// openSources is where operations and proofs come from; the caller closes it.
// With CAs it speaks TLS to them.
func openSources(cmd *cobra.Command, servers []string, secure *certs.Store, c operation.Codec, log *slog.Logger) (*source.Pool, error) {
	var addresses config.Addresses
	for _, one := range servers {
		var parsed config.Addresses
		if err := parsed.UnmarshalText([]byte(one)); err != nil {
			return nil, usagef("%s %.100q: %s expected", origin(cmd, "server"), one, parsed.Accepts())
		}
		addresses = append(addresses, parsed...)
	}
	o := source.PeerOptions{Codec: c, Logger: log}
	if secure != nil {
		o.TLS = func(name string) *tls.Config { return secure.ClientConfig(name, certs.ProtoSync) }
	}
	var peers []source.Source
	for _, address := range addresses {
		peers = append(peers, source.NewPeer(address, o))
	}
	return source.NewPool(peers, source.PoolOptions{Logger: log}), nil
}
