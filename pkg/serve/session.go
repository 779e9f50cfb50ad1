package serve

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/proofsync/proofsync/internal/guard"
)

// writeChunk is how much one write carries at most, in bytes.
const writeChunk = 256 << 10

// A session serves one connection: the goroutine of run reads, another one
// writes, the workers of the server build the replies in between.
type session struct {
	srv      *Server
	raw      net.Conn  // the connection
	tls      *tls.Conn // over it; nil: none
	conn     net.Conn  // one of them: where frames are read
	host     host      // of the peer
	identity string    // of the peer's certificate, once the handshake is done; empty: none
	frames   *frameReader
	log      *slog.Logger

	// Who the peer is, once it has been identified.
	who   guard.Client
	party *party
	leave func()

	// end is done when the connection was cut off: replies are dropped.
	end context.Context
	cut context.CancelCauseFunc

	start   time.Time
	written atomic.Int64 // when a reply was last written, since start

	subscribed atomic.Bool   // asked to be told of new targets
	news       chan struct{} // a token: there may be one

	inflight inflight       // requests admitted and not yet written
	account  account        // of the server's budget
	alone    atomic.Int32   // requests that do not go together with others, see goAlone
	pace     pace           // of the peer, taking replies
	next     turn           // of the reader
	pending  sync.WaitGroup // batches handed to workers
	replies  chan reply     // with room for every request in flight: a worker never waits

	requests, undecodable int // of the reader, for the log

	sub     subscription // of the writer
	chunk   chunks       // of the writer
	pushed  []byte       // of the writer: the frame of a push
	sending atomic.Bool  // the writer is giving TLS something to send
}

// job is a batch on its way to a worker, or the wish to write a chunk.
type job struct {
	session  *session
	chunk    bool
	batch    *batch // the worker's, then the pool's
	reserved int64  // bytes taken from both budgets
	admitted time.Time
}

// heavy tells whether the job keeps a processor busy for so long that others notice.
func (j *job) heavy() bool { return j.reserved >= heavy }

// reply are the frames that answer a batch, one after the other, on their way to the
// writer.
type reply struct {
	frames   []byte
	buffer   *[]byte // the memory of frames, from the pool; nil: none
	requests int     // that are answered
	reserved int64
	sub      subscription // that begins with it; then it is the only answer
}

func newSession(srv *Server, conn net.Conn) *session {
	c := &session{
		srv:     srv,
		raw:     conn,
		conn:    conn,
		host:    guard.HostOf(conn.RemoteAddr()),
		start:   time.Now(),
		log:     srv.opts.Logger.With("peer", conn.RemoteAddr().String()),
		replies: make(chan reply, srv.opts.MaxRequestsPerConnection),
		news:    make(chan struct{}, 1),
		next:    newTurn(),

		inflight: newInflight(&srv.opts),
	}
	c.chunk = newChunks(c)
	if srv.opts.TLS != nil {
		c.tls = tls.Server(sealed{conn, c}, srv.opts.TLS)
		c.conn = c.tls
	}
	c.frames = newFrameReader(c.conn, &srv.opts, c.lastWanted)
	c.end, c.cut = context.WithCancelCause(srv.end)
	c.account.behind = c.pace.behind
	c.account.cut = func() { c.cut(&endError{bySlowReader, nil}) }
	return c
}

// lastActive is when a reply was last written, or now if one is in work. What
// is not a request does not count, nor does what is not a reply.
func (c *session) lastActive() time.Time {
	if c.inflight.count() > 0 {
		return time.Now()
	}
	return c.start.Add(time.Duration(c.written.Load()))
}

// lastWanted is lastActive, or now if the peer is subscribed: it may say nothing
// for as long as nothing is published. The kernel finds out if it is gone.
func (c *session) lastWanted() time.Time {
	if c.subscribed.Load() {
		return time.Now()
	}
	return c.lastActive()
}

// drain makes the session end when what it has read is answered.
func (c *session) drain() { c.frames.drain() }

// run serves the connection until it ends.
func (c *session) run() {
	var writer, closer sync.WaitGroup
	closer.Go(func() { // a closed connection wakes whoever reads or writes it
		<-c.end.Done()
		c.raw.Close() // not by way of TLS, which would want to say something
	})
	writer.Go(c.write)
	err := c.secure()
	c.identify()
	if err == nil {
		err = c.read()
	}
	// A peer that has closed its sending side may still wait for replies.
	c.pending.Wait()
	c.leave()
	c.srv.pushes.remove(c)
	close(c.replies)
	writer.Wait()

	if cause := context.Cause(c.end); cause != nil {
		err = cause
	}
	why := reasonOf(err)
	switch {
	case why == byShutdown, why == byLengthPrefix:
		c.frames.linger()
	case why == byTLS:
		c.turnAway(plainPort)
	case why == byPeer && c.tls != nil:
		_ = c.tls.CloseWrite() // the last word of a conversation that was complete
	}
	c.cut(nil)
	closer.Wait()
	c.srv.opts.Metrics.closed[why].Inc()
	args := []any{"reason", why.String(), "requests", c.requests, "undecodable_frames", c.undecodable}
	if why == byPeer || why == byShutdown || why == byNewcomer || why == byLimit || why == byHandshake { // the last was told of already
		c.log.Debug("connection ended", args...)
	} else {
		c.log.Info("connection ended", append(args, "error", err)...)
	}
}

// settle replaces what was reserved for a reply by what it needs.
func (c *session) settle(reserved, used int64) int64 {
	if used >= reserved { // more only if it was clamped to a whole budget
		return reserved
	}
	c.giveBack(0, reserved-used)
	c.refund(reserved - used)
	return used
}

func (c *session) giveBack(requests int, bytes int64) {
	c.inflight.giveBack(requests, bytes)
	c.srv.bytes.release(&c.account, bytes)
	c.srv.opts.Metrics.inflightBytes.Sub(float64(bytes))
}

// release ends the life of a reply that was written, or never will be.
func (c *session) release(r reply) {
	if r.buffer != nil {
		c.srv.pool.put(r.buffer)
	}
	c.srv.opts.Metrics.inflightRequests.Sub(float64(r.requests))
	c.giveBack(r.requests, r.reserved)
}

// write sends replies as they become ready, those that are ready together in
// one go, and pushes in between. After a failure it only gives back what
// replies hold.
func (c *session) write() {
	var batch []reply
	var vec [][]byte
	for {
		var r reply
		var more bool
		select {
		case r, more = <-c.replies:
			if !more {
				return
			}
		case <-c.news:
			if c.end.Err() == nil {
				if err := c.push(); err != nil {
					c.cut(err)
				}
			}
			continue
		}
		c.pace.begin(time.Now())
		batch = c.gather(append(batch[:0], r))
		if c.end.Err() == nil {
			vec = vec[:0]
			for i := range batch {
				if batch[i].sub.sent > 0 {
					c.begin(&batch[i])
				}
				vec = append(vec, batch[i].frames)
			}
			if err := c.flush(vec); err != nil {
				c.cut(err)
			}
		}
		c.written.Store(int64(time.Since(c.start))) // before inflight says that nothing is in work
		for i, r := range batch {
			c.release(r)
			batch[i] = reply{}
		}
		c.took()
	}
}

// took notes that the peer has taken what was written; it starts anew if
// nothing else waits for it.
func (c *session) took() {
	if len(c.replies) == 0 {
		c.pace.end()
	}
}

// gather adds the replies that are ready now, up to about a chunk. If they are
// few and small it lets the workers run once before it settles for that: a
// system call costs more than many small replies.
func (c *session) gather(batch []reply) []reply {
	n, requests := len(batch[0].frames), batch[0].requests
	for yielded := false; n < writeChunk; {
		select {
		case r, ok := <-c.replies:
			if !ok {
				return batch
			}
			batch = append(batch, r)
			n += len(r.frames)
			requests += r.requests
		default:
			if yielded || n >= writeChunk/8 || c.inflight.count() <= requests {
				return batch
			}
			yielded = true
			runtime.Gosched()
		}
	}
	return batch
}

// flush writes the frames chunk by chunk. It consumes frames.
func (c *session) flush(frames [][]byte) error {
	for len(frames) > 0 {
		n, whole := 0, 0
		for whole < len(frames) && n+len(frames[whole]) <= writeChunk {
			n += len(frames[whole])
			whole++
		}
		chunk := net.Buffers(frames[:whole:whole])
		if room := writeChunk - n; whole < len(frames) && room > 0 {
			chunk = append(chunk, frames[whole][:room]) // copies the list, frames keeps the rest
			frames[whole] = frames[whole][room:]
		}
		frames = frames[whole:]
		if err := c.send(chunk); err != nil {
			return err
		}
	}
	return nil
}

// send writes a chunk, through TLS if there is some. TLS makes records of every
// piece that it gets, so it gets all of them as one.
func (c *session) send(chunk net.Buffers) error {
	if c.tls == nil {
		return c.writeOut(chunk)
	}
	whole := chunk[0]
	if len(chunk) > 1 {
		b := c.srv.pool.get(writeChunk)
		defer c.srv.pool.put(b)
		for _, frame := range chunk {
			*b = append(*b, frame...)
		}
		whole = *b
	}
	c.sending.Store(true)
	defer c.sending.Store(false)
	_, err := c.tls.Write(whole)
	return err
}

// writeOut writes a chunk to the connection unless the peer falls WriteTimeout behind. A write
// that blocks is interrupted now and then, to see how far it has come.
func (c *session) writeOut(chunk net.Buffers) error {
	m := c.srv.opts.Metrics
	for {
		now := time.Now()
		wait := paceTick
		if t := c.srv.opts.WriteTimeout; t > 0 {
			wait = min(wait, t-c.pace.behind(now))
		}
		if err := c.raw.SetWriteDeadline(now.Add(wait)); err != nil {
			return err
		}
		written, err := c.chunk.write(&chunk) // takes what it has written off chunk
		m.writes.Inc()
		m.sent.Add(float64(written))
		now = time.Now()
		c.pace.wrote(written, now)
		if !isTimeout(err) {
			return err
		}
		if t := c.srv.opts.WriteTimeout; t > 0 && c.pace.behind(now) >= t {
			return &endError{byWriteTimeout, err}
		}
	}
}
