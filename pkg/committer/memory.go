package committer

import (
	"bytes"
	"container/heap"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/store"
)

// record is what is known about an idempotency key: the last part that was
// committed under it. On disk it is a note of the commit it names, so that
// both are there or neither is. A note is written with its commit, before size
// and root of that are known; it says where the commit's operations begin, from
// which the rest is read when it is asked for.
//
// There may be a million: no pointers, and small.
type record struct {
	expires    time.Duration // since memory.epoch
	base       uint64        // size before the commit
	earlier    uint64        // operations of the commits of earlier parts
	operations uint32        // of the commit; 0: not known, see Committer.replay
	part       uint32        // index of the part; the lowest bit says that more follow
	mark       mark
}

func (r *record) index() uint32 { return r.part >> 1 }
func (r *record) more() bool    { return r.part&1 != 0 }

func packPart(p *Part) uint32 {
	n := p.Index << 1
	if p.More {
		n |= 1
	}
	return n
}

// memory knows the idempotency keys of the batches that were committed lately
// and of those in work. None is forgotten before its time.
type memory struct {
	remember time.Duration
	most     int
	epoch    time.Time // times are counted from here: steps of the clock do not matter

	mu     sync.Mutex
	known  map[hash]record
	order  expiries          // one for every known key
	stale  map[hash]struct{} // keys that are forgotten and have a note still
	coming int               // keys in work that are going to be known

	inFlight map[string]*request
}

// expiry says that a key is known until then, or a little longer.
type expiry struct {
	at   time.Duration
	hash hash
}

// expiries is a heap with the earliest on top.
type expiries []expiry

func (e expiries) Len() int           { return len(e) }
func (e expiries) Less(i, j int) bool { return e[i].at < e[j].at }
func (e expiries) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *expiries) Push(x any)        { *e = append(*e, x.(expiry)) }

func (e *expiries) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func loadMemory(db *database.DB, o *Options) (*memory, error) {
	m := &memory{
		remember: o.Remember, most: o.MaxRemembered, epoch: time.Now(),
		known: make(map[hash]record), stale: make(map[hash]struct{}), inFlight: make(map[string]*request),
	}
	var bad error
	err := db.Notes(func(key, value []byte) bool {
		name, ours := bytes.CutPrefix(key, []byte(notePrefix))
		if !ours {
			return true
		}
		var h hash
		var r record
		if h, r, r.expires, bad = parseNote(name, value, m.epoch); bad != nil {
			return false
		}
		if r.expires <= 0 {
			m.stale[h] = struct{}{}
			return true
		}
		m.known[h] = r
		m.order = append(m.order, expiry{r.expires, h})
		return true
	})
	heap.Init(&m.order)
	o.Metrics.remembered.Set(float64(len(m.known)))
	return m, errors.Join(err, bad)
}

func (m *memory) size() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.known)
}

// seen is what memory has to say about a batch. The zero value: nothing, it is
// from now on the one in work under its key, until end.
type seen struct {
	known   *record  // it was committed
	skipped bool     // it is a part before one that was committed
	other   *request // this one with the same key is in work, and has a waiter more
	same    bool     // other is the same batch
}

// begin looks an idempotency key up.
func (m *memory) begin(r *request) (seen, error) {
	now := time.Since(m.epoch)
	h := hashOf(r.batch.IdempotencyKey)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire(now)
	b := &r.batch
	if other := m.inFlight[b.IdempotencyKey]; other != nil {
		o := &other.batch
		same := o.Fingerprint == b.Fingerprint && o.Part.Index == b.Part.Index && o.Part.More == b.Part.More
		if !same && o.Part.Index == b.Part.Index {
			return seen{}, &ReusedError{Key: b.IdempotencyKey}
		}
		other.waiters++
		return seen{other: other, same: same}, nil
	}
	k, ok := m.known[h]
	ok = ok && k.expires > now
	if !ok {
		if b.Part.Index > 0 && b.Part.Prior == [32]byte{} {
			return seen{}, &ReusedError{b.IdempotencyKey, "its time was over while what it names was sent again; some of that was written the first time, and nothing of it now"}
		}
		if len(m.known)+m.coming >= m.most {
			return seen{}, ErrKeysFull
		}
		r.adds = true
		m.coming++
	} else if answered, err := k.judge(b); err != nil || answered != (seen{}) {
		return answered, err
	}
	m.inFlight[b.IdempotencyKey] = r
	return seen{}, nil
}

// judge says how a batch relates to what is known under its key. The zero
// value: it is the part that follows.
func (r record) judge(b *Batch) (seen, error) {
	refuse := func(format string, args ...any) (seen, error) {
		return seen{}, &ReusedError{b.IdempotencyKey, fmt.Sprintf(format, args...)}
	}
	switch at := r.index(); {
	case b.Part.Index < at && b.Part.More:
		return seen{skipped: true}, nil
	case b.Part.Index < at:
		return refuse("it ends after part %d, of the one that was committed there are %d or more", b.Part.Index+1, at+1)
	case b.Part.Index == at && markOf(b.Fingerprint) == r.mark && b.Part.More == r.more():
		return seen{known: &r}, nil
	case b.Part.Index == at && at > 0 && markOf(b.Fingerprint) != r.mark:
		return refuse("it is not the same up to the end of part %d", at+1)
	case b.Part.Index == at && at > 0 && r.more():
		return refuse("it ends after part %d, the one that was committed went on", at+1)
	case b.Part.Index == at && at == 0:
		return refuse("")
	case !r.more():
		return refuse("it goes on after part %d, the last of the one that was committed", at+1)
	case b.Part.Index != at+1 || markOf(b.Part.Prior) != r.mark:
		return refuse("another one took the key when its time was over")
	}
	return seen{}, nil
}

// end says that a request is no longer in work.
func (m *memory) end(r *request) {
	if r.batch.IdempotencyKey == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended(r)
}

func (m *memory) ended(r *request) {
	if m.inFlight[r.batch.IdempotencyKey] != r {
		return
	}
	delete(m.inFlight, r.batch.IdempotencyKey)
	if r.adds {
		m.coming--
	}
}

// leave takes a waiter from a request. It says whether that was the last one
// of a request that Run has not taken, and will not now.
func (m *memory) leave(r *request) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.waiters--; r.waiters > 0 || !r.state.CompareAndSwap(waiting, givenUp) {
		return false
	}
	m.ended(r)
	return true
}

// atOnce is how many keys are forgotten in one step, so that a pause does not
// make the next one long.
const atOnce = 256

// expire forgets keys whose time is over.
func (m *memory) expire(now time.Duration) {
	for range atOnce {
		if len(m.order) == 0 || m.order[0].at > now {
			return
		}
		top := &m.order[0]
		if until := m.known[top.hash].expires; until > now { // it was prolonged
			top.at = until
			heap.Fix(&m.order, 0)
			continue
		}
		delete(m.known, top.hash)
		m.stale[top.hash] = struct{}{}
		heap.Pop(&m.order)
	}
}

// toDrop chooses the keys whose notes a commit removes that adds some. commit
// has to be told.
func (m *memory) toDrop(adding int) []hash {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire(time.Since(m.epoch))
	var dropped []hash
	for h := range m.stale {
		if len(dropped) >= atOnce+2*adding {
			break
		}
		dropped = append(dropped, h)
	}
	return dropped
}

// addition is a record on its way.
type addition struct {
	hash   hash
	record record
}

func (m *memory) addition(b *Batch, base uint64) addition {
	return addition{hashOf(b.IdempotencyKey), record{
		expires: time.Since(m.epoch) + m.remember,
		base:    base, earlier: b.Part.Earlier, part: packPart(&b.Part), mark: markOf(b.Fingerprint),
	}}
}

// notes are those of a commit: what is forgotten goes first, since its key may
// be among the new ones.
func (m *memory) notes(dropped []hash, added []addition, now time.Time) []database.Note {
	notes := make([]database.Note, 0, len(dropped)+len(added))
	for _, h := range dropped {
		notes = append(notes, database.Note{Key: noteKey(h)})
	}
	for i := range added {
		notes = append(notes, added[i].record.note(added[i].hash, now, m.remember))
	}
	return notes
}

// commit makes known what was made durable in a commit that ends at size.
func (m *memory) commit(dropped []hash, added []addition, size uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range dropped {
		delete(m.stale, h)
	}
	for _, a := range added {
		if n := size - a.record.base; n <= math.MaxUint32 {
			a.record.operations = uint32(n)
		}
		if _, ok := m.known[a.hash]; !ok {
			heap.Push(&m.order, expiry{a.record.expires, a.hash})
		}
		m.known[a.hash] = a.record
		delete(m.stale, a.hash)
	}
}

// replay is the answer that the commit of a record got.
func (c *Committer) replay(r *record) (Result, error) {
	v, err := c.db.View()
	if err != nil {
		return Result{}, err
	}
	defer v.Close()
	size := r.base + uint64(r.operations)
	if r.operations == 0 {
		if size, err = v.NextCommit(r.base, math.MaxUint64); err != nil {
			return Result{}, err
		}
	}
	if size == 0 {
		return Result{}, &store.CorruptError{Where: c.db.Path(), Err: fmt.Errorf("a note names a commit after %d, there is none", r.base)}
	}
	at, err := v.At(size)
	if err != nil {
		return Result{}, err
	}
	defer at.Close()
	return Result{
		Commit:   database.Commit{Size: size, Floor: at.Floor(), Root: at.Root(), Commits: 1, Operations: int(size - r.base)},
		Location: size - 1, Replayed: true, Earlier: r.earlier,
	}, nil
}
