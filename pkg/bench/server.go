package bench

import (
	"context"
	"errors"
	"net"

	"github.com/proofsync/proofsync/pkg/serve"
)

// server is a child that serves its database, with the limits that the program
// server has unless it is told otherwise.
type server struct {
	*local
	cancel context.CancelFunc
	served chan error
}

func newServer(ctx context.Context, j job) (worker, answer, error) {
	l, a, err := openLocal(j)
	if err != nil {
		return nil, a, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, a, errors.Join(err, l.close())
	}
	s := &server{local: l, served: make(chan error, 1)}
	ctx, s.cancel = context.WithCancel(ctx)
	handler := serve.New(serve.FromDatabase(l.db), serve.Options{
		ClientLimits: serve.Limits{TargetRequests: 1000}, Metrics: serve.NewMetrics(l.reg),
	})
	go func() { s.served <- handler.Serve(ctx, listener) }() // joined by close
	a.Addr = listener.Addr().String()
	return s, a, nil
}

func (s *server) close() error {
	s.cancel()
	return errors.Join(<-s.served, s.local.close())
}
