package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/remote"
)

// dashboard is watch on a terminal: the status above, what happened last below.
type dashboard struct {
	s     *session
	out   io.Writer
	paint paint
	count uint64 // states to end after; 0: never

	status  *document.Status
	trouble string   // why the connection is being made anew; empty: it stands
	newest  string   // line of the newest state
	recent  []string // newest last
	states  uint64
}

// statusPause is how often the status is asked for.
const statusPause = time.Second

// redrawPause bounds how often the screen is drawn.
const redrawPause = 50 * time.Millisecond

// keepRecent is how many lines are remembered, for terminals that grow.
const keepRecent = 500

func newDashboard(s *session, out io.Writer, count uint64) *dashboard {
	return &dashboard{s: s, out: out, paint: painter(out), count: count}
}

// news is something the tasks of a dashboard learned.
type news struct {
	event   *remote.Event
	status  *document.Status
	trouble string
	err     error
	end     bool // there will be no more events
}

// run draws until the context ends, or enough states were seen. The terminal is
// left as it was found, with the newest state as a line.
func (d *dashboard) run(ctx context.Context, o remote.WatchOptions) error {
	// Found out on the ordinary screen: what is wrong from the start stays there.
	st, err := d.s.Status(ctx)
	if err != nil {
		return err
	}
	d.status = st
	ctx, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel()
	learned := make(chan news)
	tell := func(n news) bool {
		select {
		case learned <- n:
			return true
		case <-ctx.Done():
			return false
		}
	}
	tasks.Go(func() { d.events(ctx, o, tell) })
	tasks.Go(func() { d.poll(ctx, tell) })

	resized := make(chan os.Signal, 1)
	notifyResize(resized)
	defer signal.Stop(resized)
	s := newScreen(d.out)
	s.enter()
	defer func() {
		s.leave()
		if d.newest != "" {
			fmt.Fprintln(d.out, d.newest)
		}
	}()
	draw := time.NewTimer(0)
	defer draw.Stop()
	pending := true
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-resized:
		case <-draw.C:
			pending = false
			if err := s.draw(d.head(), d.recent); err != nil {
				return err
			}
			continue
		case n := <-learned:
			if n.end {
				return n.err
			}
			if d.learn(n) {
				return nil
			}
		}
		if !pending {
			pending = true
			draw.Reset(redrawPause)
		}
	}
}

// events tells what is published.
func (d *dashboard) events(ctx context.Context, o remote.WatchOptions, tell func(news) bool) {
	o.OnRetry = func(err error, _ time.Duration) { tell(news{trouble: line(err.Error())}) }
	for e, err := range d.s.Watch(ctx, o) {
		if err != nil {
			tell(news{err: err, end: true})
			return
		}
		if !tell(news{event: e}) {
			return
		}
	}
	tell(news{end: true})
}

// poll tells the status now and then.
func (d *dashboard) poll(ctx context.Context, tell func(news) bool) {
	t := time.NewTicker(statusPause)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		// Where it cannot be had, the stream says why.
		if st, err := d.s.Status(ctx); err == nil && !tell(news{status: st}) {
			return
		}
	}
}

// learn takes news in; true: it was the last state to wait for.
func (d *dashboard) learn(n news) bool {
	switch {
	case n.status != nil:
		d.status = n.status
	case n.trouble != "":
		d.trouble = n.trouble
	case n.event.Changes != nil:
		d.trouble = ""
		for _, c := range n.event.Changes.Changes {
			d.add("  " + changeLine(d.s, &c))
		}
	case n.event.Root != nil:
		d.trouble = ""
		r := n.event.Root
		d.newest = fmt.Sprintf("%s size %d root %s", r.Time.Local().Format(time.TimeOnly), r.Size, line(r.Root))
		text := d.newest
		if n.event.Name == document.EventReset {
			text = d.paint.wait("reset") + " " + text
		}
		d.add(text)
		d.states++
		return d.states == d.count
	}
	return false
}

func (d *dashboard) add(text string) {
	if d.recent = append(d.recent, text); len(d.recent) >= 2*keepRecent {
		d.recent = append(d.recent[:0], d.recent[len(d.recent)-keepRecent:]...)
	}
}

// head is the upper part of the screen.
func (d *dashboard) head() []string {
	lines := []string{d.paint.bold("proofsync watch "+line(d.s.where)) + d.paint.faint("   "+time.Now().Format(time.TimeOnly)+"   Ctrl-C ends")}
	for _, r := range statusRows(d.status, d.paint, time.Now()) {
		lines = append(lines, d.paint.faint(fmt.Sprintf("%-10s ", r[0]))+r[1])
	}
	if d.trouble != "" {
		lines = append(lines, d.paint.bad("connection ")+d.trouble)
	}
	return append(lines, "")
}
