package main

import (
	"fmt"
	"io"
	"time"
)

// meter shows on standard error how far a long task is, once it is known to be
// long: in place on a terminal, else a line now and then.
type meter struct {
	w        io.Writer
	terminal bool
	bytes    bool // what is counted: bytes, or else what unit says
	unit     string

	task        string
	began, last time.Time
	shown       bool // a line of a terminal is not ended yet
}

// How often progress is shown, and from when on.
const (
	meterPatience = 2 * time.Second
	meterTerminal = 250 * time.Millisecond
	meterLines    = 10 * time.Second
)

func newMeter(w io.Writer, unit string) *meter {
	return &meter{w: w, terminal: isTerminal(w), unit: unit, bytes: unit == "bytes"}
}

// at says that done of total have been done of a task; total 0: nobody knows.
func (m *meter) at(task string, done, total uint64) {
	now := time.Now()
	if task != m.task {
		m.end()
		m.task, m.began, m.last = task, now, time.Time{}
	}
	pause := meterLines
	if m.terminal {
		pause = meterTerminal
	}
	if now.Sub(m.began) < meterPatience || now.Sub(m.last) < pause {
		return
	}
	m.last = now
	text := m.text(done, total, now.Sub(m.began).Seconds())
	if m.terminal {
		fmt.Fprintf(m.w, "\r\x1b[K%s", text)
		m.shown = true
		return
	}
	fmt.Fprintln(m.w, text)
}

func (m *meter) text(done, total uint64, seconds float64) string {
	rate := float64(done) / seconds
	of, left := "", ""
	if total > 0 {
		of = " of " + m.amount(total)
		if done > 0 && total > done {
			left = ", " + span(float64(total-done)/rate) + " left"
		}
	}
	return fmt.Sprintf("%s: %s%s, %s/s%s", m.task, m.amount(done), of, m.amount(uint64(rate)), left)
}

func (m *meter) amount(n uint64) string {
	if m.bytes {
		return byteSize(n)
	}
	return fmt.Sprintf("%d %s", n, m.unit)
}

// end leaves the terminal as it was.
func (m *meter) end() {
	if m.shown {
		fmt.Fprint(m.w, "\r\x1b[K")
		m.shown = false
	}
}
