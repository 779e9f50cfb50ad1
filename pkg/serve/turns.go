package serve

import (
	"container/heap"
	"sync"
)

// turnCost is what a turn costs beside the bytes of its reply, in bytes: the
// work of a request whatever its size.
const turnCost = 4 << 10

// turns hands requests to workers, fairly between clients: each gets the same
// share of the work, counted in bytes of replies, as long as it asks for that
// much, whatever the number of its connections and however many requests it
// pipelines (start-time fair queueing).
//
// A worker that waits is given the next request at once. Where all are busy, a
// connection waits with one request at a time; its client is next when it has
// had least. A client that has asked for little is served before those who
// always want more, and saves nothing up while it asks for nothing.
type turns struct {
	mu      sync.Mutex
	now     uint64     // the tag of the last request handed out
	waiting flows      // parties with requests that wait
	idle    []chan job // of workers that wait, the one that came last goes first
	closed  bool
}

// A flow is the part of a party in turns, whose mutex guards it: a list of the
// connections that wait, each with its request.
type flow struct {
	tag         uint64 // when the next request is due, on the clock of what was handed out
	first, last *session
}

// queued is a session's place in the list of its client.
type queued struct {
	token chan struct{} // there is one: nothing of the session is in the list
	job   job
	next  *session
}

// put hands a request to a worker, or queues it. It waits while another
// request of the connection is queued, and fails when the connection ends.
func (t *turns) put(j job) bool {
	c := j.session
	select {
	case <-c.queued.token:
	case <-c.end.Done():
		return false
	}
	f := &c.party.flow
	t.mu.Lock()
	if n := len(t.idle); n > 0 {
		worker := t.idle[n-1]
		t.idle = t.idle[:n-1]
		t.charge(f, j)
		t.mu.Unlock()
		c.queued.token <- struct{}{}
		worker <- j // there is room
		return true
	}
	c.queued.job = j
	if f.first == nil {
		f.first, f.last = c, c
		f.tag = max(f.tag, t.now)
		heap.Push(&t.waiting, f)
	} else {
		f.last.queued.next, f.last = c, c
	}
	t.mu.Unlock()
	return true
}

// next is the next request for a worker, or false once nobody asks any more.
// The channel is the worker's own, with room for one.
func (t *turns) next(worker chan job) (job, bool) {
	t.mu.Lock()
	if len(t.waiting) == 0 {
		if t.closed {
			t.mu.Unlock()
			return job{}, false
		}
		t.idle = append(t.idle, worker)
		t.mu.Unlock()
		j, ok := <-worker
		return j, ok
	}
	f := t.waiting[0]
	c := f.first
	j := c.queued.job
	f.first, c.queued.job, c.queued.next = c.queued.next, job{}, nil
	t.charge(f, j)
	if f.first != nil {
		heap.Fix(&t.waiting, 0)
	} else {
		f.last = nil
		heap.Pop(&t.waiting)
	}
	t.mu.Unlock()
	c.queued.token <- struct{}{}
	return j, true
}

// charge moves the clock to a request that is handed out, and its client's next
// one to after it.
func (t *turns) charge(f *flow, j job) {
	t.now = max(t.now, f.tag)
	f.tag = t.now + uint64(j.reserved) + turnCost
}

// close lets workers end. No request may come afterwards.
func (t *turns) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, worker := range t.idle {
		close(worker)
	}
	t.idle = nil
}

// flows is a heap by tag.
type flows []*flow

func (f flows) Len() int           { return len(f) }
func (f flows) Less(i, k int) bool { return f[i].tag < f[k].tag }
func (f flows) Swap(i, k int)      { f[i], f[k] = f[k], f[i] }
func (f *flows) Push(x any)        { *f = append(*f, x.(*flow)) }
func (f *flows) Pop() any {
	old := *f
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*f = old[:len(old)-1]
	return x
}
