package serve

import (
	"container/heap"
	"sync"
	"time"
)

const (
	// turnCost is what a turn costs beside the bytes of its reply, in bytes: the
	// work of a request whatever its size.
	turnCost = 4 << 10
	// moreCost is the same of each further request of a batch, which is less.
	moreCost = 1 << 10

	// heavy is what a turn takes that others notice, in bytes: hundreds of
	// microseconds of a core, for building a reply or writing it.
	heavy = 32 << 10

	// courtesy is how long after a light turn others are expected to want more.
	courtesy = 100 * time.Millisecond

	// rested is how long a heavy turn is followed by rest, as a multiple of what it
	// took, and restMost the longest rest: what a turn took counts what the machine
	// did meanwhile, too.
	rested   = 3
	restMost = 2 * time.Millisecond

	// spacious is how many processors are enough for one of them to be idle when
	// something light comes.
	spacious = 4
)

// turns hands jobs to workers, fairly between clients: each gets the same
// share of the work, counted in bytes of replies, as long as it asks for that
// much, whatever the number of its connections and however many requests it
// pipelines (start-time fair queueing). A connection waits with one request at a
// time, and its client is next when it has had least. A client that has asked
// for little is served before those who always want more, and saves nothing up
// while it asks for nothing.
//
// While another client has light work, heavy work leaves one processor free.
// Order alone would not help the light one: with every processor at work the
// runtime looks at the network once in 10 ms, and goroutines queue for as long.
// Where there are few, that is not enough: the other one is also the kernel's
// and its other processes', and a thread that never sleeps is not made to give way
// for milliseconds. So heavy work is done with rests there.
type turns struct {
	mu       sync.Mutex
	now      uint64     // the tag of the last job handed out
	light    flows      // parties that wait, by what their first job is
	heavy    flows      //
	idle     []chan job // of workers that wait, the one that came last goes first
	running  int        // heavy jobs
	most     int        // of them, while others have light work
	rests    bool       // after each of them, while others have light work
	recently [2]visit   // the last light jobs of two parties, the newest first
	closed   bool
}

// A visit is when a party had something light to do.
type visit struct {
	flow *flow
	at   time.Time
}

// A flow is the part of a party in turns, whose mutex guards it: a list of the
// connections that wait, each with its job.
type flow struct {
	tag         uint64 // when the next job is due, on the clock of what was handed out
	first, last *turn
}

// A turn is a place in the list of a party: a connection has one for its next
// request, and one for what it writes next.
type turn struct {
	free chan struct{} // a token: it is not in the list
	job  job
	next *turn
}

func newTurn() turn {
	t := turn{free: make(chan struct{}, 1)}
	t.free <- struct{}{}
	return t
}

// newTurns is for that many processors.
func newTurns(processors int) turns {
	return turns{most: max(1, processors-1), rests: processors < spacious}
}

// put queues a job for the next worker. It waits while another one is queued in
// this place, and fails when the connection ends.
func (t *turns) put(place *turn, j job) bool {
	select {
	case <-place.free:
	case <-j.session.end.Done():
		return false
	}
	f := &j.session.party.flow
	t.mu.Lock()
	defer t.mu.Unlock()
	place.job = j
	if f.first == nil {
		f.first, f.last = place, place
		f.tag = max(f.tag, t.now)
		heap.Push(t.kind(j), f)
	} else {
		f.last.next, f.last = place, place
	}
	if !j.heavy() && !j.chunk {
		if t.recently[0].flow != f {
			t.recently[1] = t.recently[0]
		}
		t.recently[0] = visit{f, j.admitted}
	}
	t.dispatch()
	return true
}

// next is the next job for a worker, or false once nobody asks any more. The
// channel is the worker's own, with room for one; last is the job it has done.
func (t *turns) next(worker chan job, last job) (job, bool) {
	t.mu.Lock()
	if last.heavy() {
		t.running--
	}
	t.idle = append(t.idle, worker)
	t.dispatch()
	if t.closed && t.light.Len()+t.heavy.Len() == 0 {
		t.end()
	}
	t.mu.Unlock()
	j, ok := <-worker
	return j, ok
}

// close lets workers end. No request may come afterwards.
func (t *turns) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.light.Len()+t.heavy.Len() == 0 {
		t.end()
	}
}

func (t *turns) end() {
	for _, worker := range t.idle {
		close(worker)
	}
	t.idle = nil
}

// dispatch gives jobs to workers that wait.
func (t *turns) dispatch() {
	for len(t.idle) > 0 {
		from := t.choose()
		if from == nil {
			return
		}
		j := t.take(from)
		worker := t.idle[len(t.idle)-1]
		t.idle = t.idle[:len(t.idle)-1]
		if j.heavy() {
			t.running++
		}
		worker <- j // there is room
	}
}

// choose is where the next job is; nil: there is none that may be done now. A
// heavy one that has to wait is looked at again when the next one is done.
func (t *turns) choose() *flows {
	if len(t.heavy) > 0 && (len(t.light) == 0 || t.heavy[0].tag < t.light[0].tag) && t.mayRun(t.heavy[0]) {
		return &t.heavy
	}
	if len(t.light) > 0 {
		return &t.light
	}
	return nil
}

// mayRun tells whether a party may have a heavy job done.
func (t *turns) mayRun(f *flow) bool {
	return t.running < t.most || !t.others(f)
}

// others tells whether another party has light work.
func (t *turns) others(f *flow) bool {
	other := t.recently[0]
	if other.flow == f {
		other = t.recently[1]
	}
	return other.flow != nil && time.Since(other.at) <= courtesy
}

// rest is how long a worker does nothing after a job that took so long, in which
// time no heavy work is done in its place.
func (t *turns) rest(j *job, took time.Duration) time.Duration {
	if !t.rests || !j.heavy() {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.others(&j.session.party.flow) {
		return 0
	}
	return min(rested*took, restMost)
}

// take takes the first job of the first party. The clock moves to it, and the
// party's next one to after it.
func (t *turns) take(from *flows) job {
	f, _ := heap.Pop(from).(*flow)
	place := f.first
	j := place.job
	f.first, place.job, place.next = place.next, job{}, nil
	t.now = max(t.now, f.tag)
	f.tag = t.now + uint64(j.reserved) + turnCost
	if j.batch != nil {
		f.tag += moreCost * uint64(len(*j.batch)-1)
	}
	if f.first != nil {
		heap.Push(t.kind(f.first.job), f)
	} else {
		f.last = nil
	}
	place.free <- struct{}{}
	return j
}

// kind is where the flow of a first job belongs.
func (t *turns) kind(j job) *flows {
	if j.heavy() {
		return &t.heavy
	}
	return &t.light
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
