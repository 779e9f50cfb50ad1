package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/fx"

	"github.com/proofsync/proofsync/pkg/api"
	"github.com/proofsync/proofsync/pkg/certs"
	"github.com/proofsync/proofsync/pkg/config"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/page"
)

// socketName is the socket of a running process in its storage directory.
const socketName = "proofsync.sock"

// webPort holds the port of the HTTP API from the start on, like listener. It
// holds none when the port is off.
type webPort struct{ net.Listener }

func newWebPort(lc fx.Lifecycle, host config.Host, port config.OptionalPort) *webPort {
	w := new(webPort)
	if port.Off {
		return w
	}
	lc.Append(fx.Hook{
		OnStart: func(ctx context.Context) (err error) {
			if w.Listener, err = new(net.ListenConfig).Listen(ctx, "tcp", host.Join(port.Port)); err != nil {
				return fmt.Errorf("HTTP listener: %w (choose another --http-port, or off)", err)
			}
			return nil
		},
		OnStop: func(context.Context) error {
			_ = w.Close() // the web part has closed it, unless it was never reached
			return nil
		},
	})
	return w
}

// web is the last part of both processes: the HTTP API and the status page, on
// their port and on the socket in the storage directory.
type web struct {
	cfg      *config.HTTP
	security *security
	port     *webPort
	storage  *storage
	status   func() document.Status
	more     func(*api.Options) error // what only one kind of process has; nil: nothing
	reg      prometheus.Registerer
	exits    exits

	api     *api.API
	servers []*http.Server
	tasks   tasks
}

func (w *web) hook() fx.Hook { return fx.Hook{OnStart: w.start, OnStop: w.stop} }

func (w *web) start(ctx context.Context) error {
	o := api.Options{
		DB: w.storage.DB, Status: w.status, CORSOrigins: w.cfg.CORSOrigins,
		Limits: api.Limits{
			Requests: int(w.cfg.MaxRequests), Streams: orNone(w.cfg.MaxWatchers),
			Rate: float64(w.cfg.Rate), RatePerHost: float64(w.cfg.RatePerHost),
			Bytes: float64(w.cfg.BytesRate), BytesPerHost: float64(w.cfg.BytesPerHost),
			RequestTime: w.cfg.RequestTimeout.D(),
		},
		Identity: func(r *http.Request) string { return certs.Identity(r.TLS) },
		Page:     page.Handler(page.Options{API: func() http.Handler { return w.api.Local() }, Logger: w.exits.Log}),
		Logger:   w.exits.Log, Metrics: api.NewMetrics(w.reg),
	}
	if w.more != nil {
		if err := w.more(&o); err != nil {
			return err
		}
	}
	w.api = api.New(o)
	if w.port.Listener != nil {
		w.exits.Log.Info("HTTP API and status page listening", "addr", w.port.Addr().String())
		conns := newWebConns(w.port.Listener, w.connections())
		conns.refused = w.security.Refused
		var l net.Listener = conns
		// HTTP/1.1 alone, also over TLS: one connection is then one request at a
		// time, which the bounds on connections rest on.
		if c := w.security.ServerConfig(certs.ProtoHTTP); c != nil {
			l = tls.NewListener(conns, c)
		}
		w.serve("HTTP API", l, conns.state, w.api.Handler())
	}
	path := filepath.Join(w.storage.DB.Path(), socketName)
	l, err := listenSocket(ctx, path)
	if err != nil {
		// Directories may lie too deep for a socket, or on a file system that
		// has none. Everything else works.
		w.exits.Log.Warn("no local socket: the operator's tool has to use the HTTP port", "path", path, "error", err)
		return nil
	}
	w.serve("local API", l, nil, w.api.Local())
	return nil
}

// connections is the bound on those of the HTTP port. Half of the descriptors
// is left to the database and to replicas.
func (w *web) connections() int {
	most := int(w.cfg.MaxHTTPConns)
	if n := descriptors() / 2; n > 0 && n < most {
		w.exits.Log.Warn("fewer HTTP connections than configured: the limit of open files is low", "limit", 2*n, "http_max_connections", n)
		return n
	}
	return most
}

func (w *web) serve(name string, l net.Listener, state func(net.Conn, http.ConnState), h http.Handler) {
	s := &http.Server{
		Handler:   h,
		ConnState: state,
		// Reading and writing of bodies is bounded by the API, which knows
		// streams from documents.
		ReadHeaderTimeout: min(w.cfg.RequestTimeout.D(), 10*time.Second),
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    api.MaxURL + 16<<10,
		ErrorLog:          slog.NewLogLogger(w.exits.Log.Handler(), slog.LevelDebug),
	}
	w.servers = append(w.servers, s)
	w.tasks.start(name, func(context.Context) error {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}, w.exits.failed)
}

// stop lets requests be answered, for a share of the time that is left.
func (w *web) stop(ctx context.Context) error {
	drain, cancel := withShare(ctx, 0.3)
	defer cancel()
	if w.api != nil {
		if err := w.api.Shutdown(drain); err != nil {
			w.exits.Log.Warn("watch streams cut off", "error", err)
		}
	}
	for _, s := range w.servers {
		if err := s.Shutdown(drain); err != nil {
			w.exits.Log.Warn("HTTP requests cut off", "error", err)
			_ = s.Close()
		}
	}
	return w.tasks.stop(ctx)
}

// listenSocket listens on a socket that only this user may use. One that is
// there is a dead process's: the directory is locked by us.
func listenSocket(ctx context.Context, path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return onlyOwner(c)
	}}
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}
