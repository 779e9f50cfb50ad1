package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/proofsync/proofsync/internal/guard"
)

// Back-off while accepting fails for want of resources.
const (
	minAcceptDelay = 5 * time.Millisecond
	maxAcceptDelay = time.Second
)

// ErrServing is returned by a second Serve of one Server.
var ErrServing = errors.New("server is already serving")

// noteInterval is the shortest time between two log lines of one kind of event
// that peers can cause.
const noteInterval = 10 * time.Second

// Server answers requests from one database. It serves one listener, once.
// All methods may be called from any goroutine.
type Server struct {
	db   Database
	opts Options

	turns   turns
	bytes   *budget // MaxTotalBytes
	pool    bufferPool
	batches batchPool
	notes   *guard.Log

	pushes *pushes

	parties *guard.Clients[party]
	door    *door // of all clients
	limited bool  // there are limits

	// end is done when whatever still runs has to stop at once.
	end    context.Context
	cancel context.CancelFunc

	sessions sync.WaitGroup
	draining chan struct{} // closed when no more input is wanted
	done     chan struct{} // closed when Serve has joined everything it started

	mu       sync.Mutex // guards what follows, and closing draining
	listener net.Listener
	open     places
}

// New returns a server of db. It starts nothing; Serve does. The database has
// to stay open until Serve has returned.
func New(db Database, opts Options) *Server {
	opts = opts.withDefaults()
	end, cancel := context.WithCancel(context.Background())
	s := &Server{
		db:       db,
		opts:     opts,
		turns:    newTurns(runtime.GOMAXPROCS(0)),
		bytes:    newBudget(opts.MaxTotalBytes),
		notes:    guard.NewLog(opts.Logger, noteInterval),
		pushes:   newPushes(db, opts.Metrics),
		end:      end,
		cancel:   cancel,
		draining: make(chan struct{}),
		done:     make(chan struct{}),
		open:     newPlaces(opts.MaxConnections, opts.MaxConnectionsPerHost),
		door:     newDoor(ofAll, opts.Limits),
		limited:  opts.Limits != Limits{} || opts.ClientLimits != Limits{},
	}
	s.parties = s.newParties()
	opts.Metrics.door.Store(s.door)
	return s
}

// Serve accepts connections from l and answers their requests until Shutdown
// is called or ctx ends. It closes l, and returns when every goroutine it
// started has ended.
//
// After Shutdown, and when ctx ends, it returns nil; the end of ctx cuts
// replies off, Shutdown lets them finish. Any other return is an error: the
// listener is broken, or ErrServing.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.mu.Lock()
	if s.listener != nil {
		s.mu.Unlock()
		return ErrServing
	}
	s.listener = l
	s.mu.Unlock()
	defer close(s.done)
	defer l.Close()
	if s.stopping() { // Shutdown came first
		return nil
	}

	var watch, workers sync.WaitGroup
	watch.Go(func() {
		select {
		case <-ctx.Done():
			s.abort()
		case <-s.end.Done():
		}
	})
	watch.Go(func() { s.pushes.run(s.end) })
	for range s.opts.Workers {
		workers.Go(func() {
			w := worker{srv: s}
			mine := make(chan job, 1)
			var j job
			for {
				var ok bool
				j, ok = s.turns.next(mine, j)
				if !ok {
					return
				}
				if !j.heavy() {
					w.do(j)
					continue
				}
				begun := time.Now()
				w.do(j)
				time.Sleep(s.turns.rest(&j, time.Since(begun)))
			}
		})
	}
	err := s.accept(l)
	s.drain()
	if err != nil {
		s.abort() // nobody may be left to call Shutdown
	}
	s.sessions.Wait()
	s.turns.close()
	workers.Wait()
	s.cancel()
	watch.Wait()
	return err
}

// Shutdown stops accepting, answers every request that has been read or lies
// complete in a read buffer, writes the answers and closes the connections.
// When ctx ends first, it closes what is left at once and returns the error of
// ctx. Either way every goroutine of Serve has ended when it returns.
func (s *Server) Shutdown(ctx context.Context) error {
	if started := s.drain(); !started {
		s.cancel()
		return nil
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		s.abort()
		<-s.done
		return context.Cause(ctx)
	}
}

// drain lets no connection in and no more input, and leaves the rest running.
// It tells whether Serve was ever called.
func (s *Server) drain() (started bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopping() {
		close(s.draining)
	}
	for c := range s.open.sessions {
		c.drain()
	}
	if s.listener == nil {
		return false
	}
	s.listener.Close()
	return true
}

// abort ends whatever runs.
func (s *Server) abort() {
	s.cancel()
	s.drain()
}

func (s *Server) accept(l net.Listener) error {
	m := s.opts.Metrics
	var delay time.Duration
	for {
		conn, err := l.Accept()
		if err == nil {
			delay = 0
			s.admit(conn)
			continue
		}
		if s.stopping() {
			return nil
		}
		if !worthRetrying(err) {
			return fmt.Errorf("accept on %s: %w", l.Addr(), err)
		}
		delay = min(max(2*delay, minAcceptDelay), maxAcceptDelay)
		m.acceptFails.Inc()
		s.notes.Warn("accepting a connection failed, trying again", "error", err, "delay", delay)
		select {
		case <-time.After(delay):
		case <-s.draining:
			return nil
		}
	}
}

// admit starts the session of a connection, or closes it when there are
// enough and none of them can go.
func (s *Server) admit(conn net.Conn) {
	m := s.opts.Metrics
	s.mu.Lock()
	if s.stopping() {
		s.mu.Unlock()
		conn.Close()
		return
	}
	full, idle := s.open.room(guard.HostOf(conn.RemoteAddr()))
	if full {
		s.mu.Unlock()
		conn.Close()
		m.rejected.Inc()
		s.notes.Warn("connection refused: too many", "peer", conn.RemoteAddr(),
			"max_connections", s.opts.MaxConnections, "max_connections_per_host", s.opts.MaxConnectionsPerHost)
		return
	}
	c := newSession(s, conn)
	s.open.add(c)
	s.mu.Unlock()
	if idle != nil {
		idle.cut(&endError{byNewcomer, nil})
	}
	m.accepted.Inc()
	m.connections.Inc()
	s.sessions.Go(func() {
		c.run()
		s.mu.Lock()
		s.open.remove(c)
		s.mu.Unlock()
		m.connections.Dec()
	})
}

func (s *Server) stopping() bool {
	select {
	case <-s.draining:
		return true
	default:
		return false
	}
}
