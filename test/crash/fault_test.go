package crash

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/proofsync/proofsync/pkg/store/storetest"
)

// fault is a way in which the n-th operation fails.
type fault struct {
	name    string
	errno   syscall.Errno
	lasting bool // and every one after it
	reads   bool // operations that read are counted, not those that write
	every   bool // at all operations around large commits, and all writes of small kinds, whatever else is left out
}

var faults = []fault{
	{name: "a write fails once", errno: syscall.EIO, every: true},
	{name: "a read fails once", errno: syscall.EIO, reads: true, every: true},
	{name: "writes fail from then on", errno: syscall.EIO, lasting: true},
	{name: "the disk is full from then on", errno: syscall.ENOSPC, lasting: true},
	{name: "the disk is full for a moment", errno: syscall.ENOSPC},
	{name: "reads fail from then on", errno: syscall.EIO, lasting: true, reads: true},
}

// counts says whether an operation is one of those that fail.
func (f fault) counts(o storetest.Op) bool {
	if o.Kind == storetest.Close { // closes whatever it says
		return false
	}
	if (o.Kind == storetest.Lock || o.Kind == storetest.Stat) && o.Path == path.Join(backupDir, "LOCK") {
		return false // who may not lock a backup may restore it
	}
	return o.Kind.Reads() == f.reads
}

// stuck is when a process is thought to hang.
const stuck = 10 * time.Second

// outcome is how a process ended whose disk failed.
type outcome struct {
	failed []storetest.Op // operations that did
	err    error          // what the write returned
	fatal  error          // or for what the storage stopped the process
	text   string         // all that was said, in errors and logs
	disk   *storetest.Disk
}

func TestAFailingDiskIsReportedAndNothingIsLost(t *testing.T) {
	table := []string{fmt.Sprintf("%-26s %8s %8s %8s %8s %8s %8s %8s %9s %8s", "kind of write", "writes", "reads", "in bulk", "runs", "error", "ended", "logged", "unnoticed", "seconds")}
	for _, newKind := range kinds {
		k := newKind(t)
		t.Run(k.name, func(t *testing.T) {
			if everything && os.Getenv(alone) == "" {
				table = append(table, byItself(t))
				return
			}
			began := time.Now()
			var writes, reads, inBulk, runs int
			how := map[string]int{}
			for i, f := range faults {
				n, around, err := k.operations(f)
				if err != nil {
					t.Fatal(err)
				}
				if f.reads {
					reads = n
				} else {
					writes = n
				}
				if f.every {
					inBulk += len(around)
				}
				var all errgroup.Group
				all.SetLimit(2)
				var mu sync.Mutex
				for _, at := range k.places(f, i, n, around) {
					all.Go(func() error {
						if failfast() && t.Failed() {
							return nil
						}
						ended, err := k.fails(f, at)
						if err != nil {
							t.Errorf("%s, operation %d of %d: %v", f.name, at, n, err)
						}
						mu.Lock()
						defer mu.Unlock()
						runs++
						how[ended]++
						return nil
					})
				}
				_ = all.Wait() // errors are those of the test
			}
			if writes < k.syncs || reads < 5 || runs < len(faults) || (k.bulk > 0) != (inBulk > 0) {
				t.Errorf("%d writes, %d reads, %d of them in bulk, %d runs: what is watched?", writes, reads, inBulk, runs)
			}
			table = append(table, fmt.Sprintf("%-26s %8d %8d %8d %8d %8d %8d %8d %9d %8.1f", k.name, writes, reads, inBulk, runs,
				how["error"], how["ended"], how["logged"], how["unnoticed"], time.Since(began).Seconds()))
		})
	}
	t.Log("\n" + strings.Join(table, "\n"))
}

// failfast says whether one failure is all that is asked for.
func failfast() bool {
	f := flag.Lookup("test.failfast")
	return f != nil && f.Value.String() == "true"
}

// alone is the variable that says that there is one kind of write to a process.
const alone = "PROOFSYNC_CRASH_ALONE"

// byItself runs a kind of write in a process of its own, and returns its line of
// the table: what is stopped in the middle stays in memory, hundreds of times.
func byItself(t *testing.T) string {
	t.Helper()
	var pattern []string
	for part := range strings.SplitSeq(t.Name(), "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(part)+"$")
	}
	cmd := exec.Command(os.Args[0], "-test.v", "-test.run", strings.Join(pattern, "/"))
	cmd.Env = append(os.Environ(), alone+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	lines := strings.Split(string(out), "\n")
	for i, line := range lines[:len(lines)-1] {
		if strings.Contains(line, "kind of write") {
			return strings.TrimSpace(lines[i+1])
		}
	}
	return t.Name() + ": no table"
}

// places are the operations, counted from 1, that fail one after the other: all n,
// or as many as fit into a few seconds, from another one on for each fault.
func (k *kind) places(f fault, number, n int, inBulk []int) []int {
	step := 1
	switch {
	case raced:
		step = n
	case everything, k.small && f.every && !f.reads:
	case k.bulk > 0 && f.every:
		return inBulk
	default:
		step = n/3 + 1
	}
	var all []int
	for at := 1 + (number*7)%step; at <= n; at += step {
		all = append(all, at)
	}
	return all
}

// operations counts the operations of a write that could fail, and says which of
// them happen while a large commit goes around the log.
func (k *kind) operations(f fault) (n int, inBulk []int, err error) {
	p, err := k.start()
	if err != nil {
		return 0, nil, err
	}
	var around bulks
	p.disk.Watch(func(o storetest.Op) error {
		during := around.during(o)
		if f.counts(o) {
			if n++; during {
				inBulk = append(inBulk, n)
			}
		}
		return nil
	}, nil)
	err = k.run(p)
	return n, inBulk, err
}

// fails does the write while its n-th operation fails, and then restarts it on a
// disk that works.
func (k *kind) fails(f fault, n int) (ended string, err error) {
	p, err := k.start()
	if err != nil {
		return "", err
	}
	o, err := p.endure(f, n)
	if len(o.failed) == 0 {
		return "unused", err // fewer operations than were counted
	}
	where := fmt.Sprintf("%s %s", o.failed[0].Kind, o.failed[0].Path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", where, err)
	}
	switch {
	case o.fatal != nil:
		ended = "ended"
	case o.err != nil:
		ended = "error"
	default:
		ended = "logged"
	}
	switch {
	case o.reported(f):
	case f.reads && ended == "logged" && ofEngine(o.failed[0].Path):
		// The storage engine reads on its own, for its statistics; nobody has
		// asked for what it did not get. What we read ourselves has to be missed.
		ended = "unnoticed"
	case o.failed[0].Kind == storetest.Link && ended == "logged":
		ended = "unnoticed" // where there are no links it is copied
	case o.failed[0].Kind == storetest.Lock && f.errno == syscall.ENOSPC && !f.lasting && ended == "logged":
		// Who only reads, as the check of what is restored, tries once more and has
		// the lock then; a writer ends.
		ended = "unnoticed"
	case ended == "logged" && path.Ext(o.failed[0].Path) == ".sst" && strings.HasPrefix(path.Base(path.Dir(o.failed[0].Path)), "gen-"):
		// A merge that failed while the generation was closed is given up without
		// a word: what it would have written is in the tables it has read.
		ended = "unnoticed"
	default:
		return ended, fmt.Errorf("%s (%s): not reported with its place:\n%s", where, ended, o.text)
	}
	c := clone{acked: p.acked(), limit: p.limit(), retained: p.retained.Load()}
	cut := o.disk.Crash(0, 0)
	for how, disk := range map[string]*storetest.Disk{"restarted": o.disk, "restarted after a power cut": cut} {
		c.disk = disk
		if err := k.survives(c); err != nil {
			return ended, fmt.Errorf("%s (%s), %s: %w\n%s", where, ended, how, err, o.text)
		}
	}
	return ended, nil
}

// ofEngine says whether a file is the storage engine's, which the tables of a large
// commit become when it has taken them in. It looks at the sizes of some by their bare names.
func ofEngine(name string) bool {
	return path.Base(name) == name || strings.Contains(name, "/gen-") && !strings.Contains(name, ".load/")
}

// endure does the write while its n-th operation fails. An error says that the
// process did not end.
func (p *process) endure(f fault, n int) (outcome, error) {
	var o outcome
	var mu sync.Mutex
	p.disk.Watch(func(op storetest.Op) error {
		if !f.counts(op) {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if n--; n > 0 || n < 0 && !f.lasting {
			return nil
		}
		o.failed = append(o.failed, op)
		return op.Error(f.errno)
	}, nil)
	done := make(chan error, 1)
	go func() { done <- p.k.run(p) }()
	select {
	case o.err = <-done:
		p.disk.Watch(nil, nil)
		o.disk = p.disk
	case o.fatal = <-p.fatal:
		o.disk = p.disk.Freeze()
		if u := p.source.Load(); u != nil {
			u.stop()
		}
	case <-time.After(stuck):
		p.disk.Freeze()
		mu.Lock()
		defer mu.Unlock()
		return o, errors.New("the process neither went on nor ended\n" + p.logs.String())
	}
	mu.Lock()
	defer mu.Unlock()
	o.text = fmt.Sprintf("%v\n%v\n%s", o.err, o.fatal, p.logs.String())
	return o, nil
}

// reported says whether the error and its place were named: the file, or its
// directory for what the system does not name the file of. Of many failures one
// is enough. What is done about a full disk is the same wherever it is met.
func (o outcome) reported(f fault) bool {
	if f.errno == syscall.ENOSPC && strings.Contains(o.text, "no space left on the volume") {
		return strings.Contains(o.text, dir)
	}
	for _, op := range o.failed {
		place := op.Path
		if op.Kind == storetest.SyncData {
			place = path.Dir(place)
		}
		if strings.Contains(o.text, f.errno.Error()) && strings.Contains(o.text, place) {
			return true
		}
	}
	return false
}
