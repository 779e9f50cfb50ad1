package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Probe is one condition of a probe endpoint. Check is called on every request,
// by several goroutines, and must not block.
type Probe struct {
	Name  string
	Check func() error // nil: holds
}

// Options configures a Server.
type Options struct {
	Addr     string              // host:port; port 0 picks a free one
	Gatherer prometheus.Gatherer // what /metrics shows
	Live     []Probe             // all must hold for 200, otherwise 503; none holds
	Ready    []Probe
	Startup  []Probe
	Pprof    bool         // offer Go's profiles as well
	Logger   *slog.Logger // nil discards
}

// Server is the HTTP server of metrics and probes. Start and Stop are called once each.
type Server struct {
	opts     Options
	http     *http.Server
	listener net.Listener
	done     chan error // the outcome of Serve
}

// NewServer returns a server that does not listen yet.
func NewServer(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{opts: o, done: make(chan error, 1)}
	s.http = &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	return s
}

// Start listens and serves in the background. failed, if not nil, is called
// when serving ends for another reason than Stop.
func (s *Server) Start(ctx context.Context, failed func(error)) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", s.opts.Addr)
	if err != nil {
		return fmt.Errorf("metrics listener: %w", err)
	}
	s.listener = l
	s.opts.Logger.Info("metrics and probes listening", "addr", l.Addr().String())
	go func() {
		err := s.http.Serve(l)
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		s.done <- err
		if err != nil && failed != nil {
			failed(fmt.Errorf("metrics server: %w", err))
		}
	}()
	return nil
}

// Addr is the address listened on; nil before Start.
func (s *Server) Addr() net.Addr {
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Stop finishes requests being answered, until ctx ends, and joins the server.
func (s *Server) Stop(ctx context.Context) error {
	if s.listener == nil {
		return nil
	}
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	return errors.Join(err, <-s.done)
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.opts.Gatherer, promhttp.HandlerOpts{
		MaxRequestsInFlight: 8,
		ErrorHandling:       promhttp.ContinueOnError,
		ErrorLog:            slog.NewLogLogger(s.opts.Logger.Handler(), slog.LevelWarn),
	}))
	mux.HandleFunc("GET /livez", probe(s.opts.Live))
	mux.HandleFunc("GET /readyz", probe(s.opts.Ready))
	mux.HandleFunc("GET /startupz", probe(s.opts.Startup))
	paths := "/metrics\n/livez\n/readyz\n/startupz\n"
	if s.opts.Pprof {
		paths += "/debug/pprof/\n"
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		plain(w)
		_, _ = io.WriteString(w, paths)
	})
	return mux
}

func plain(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
}

// probe answers 200 when every condition holds and 503 otherwise, with one line
// for each.
func probe(conditions []Probe) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		var body strings.Builder
		status := http.StatusOK
		for _, p := range conditions {
			if err := p.Check(); err != nil {
				status = http.StatusServiceUnavailable
				fmt.Fprintf(&body, "%s: %v\n", p.Name, err)
			} else {
				fmt.Fprintf(&body, "%s: ok\n", p.Name)
			}
		}
		if len(conditions) == 0 {
			body.WriteString("ok\n")
		}
		plain(w)
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body.String())
	}
}
