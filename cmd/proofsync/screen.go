package main

import (
	"bytes"
	"io"
	"slices"
)

// screen draws on a terminal, on the alternate screen that most have, so that
// what was there before comes back.
type screen struct {
	w    io.Writer
	rows func() int
}

// Control sequences of ECMA-48 and xterm.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l" // alternate screen, no cursor, long lines are cut
	leaveScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
	plainText   = "\x1b[0m"
)

func newScreen(w io.Writer) *screen {
	return &screen{w: w, rows: func() int { return terminalRows(w) }}
}

func (s *screen) enter() { _, _ = io.WriteString(s.w, enterScreen) }
func (s *screen) leave() { _, _ = io.WriteString(s.w, leaveScreen) }

// draw shows head and as many of the last lines of tail as have room, in one
// write, so that it does not flicker.
func (s *screen) draw(head, tail []string) error {
	rows := s.rows()
	head = head[:min(len(head), rows)]
	tail = tail[max(0, len(tail)-(rows-len(head))):]
	var b bytes.Buffer
	b.WriteString(home)
	for i, l := range slices.Concat(head, tail) {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(l + plainText + clearLine)
	}
	b.WriteString(clearBelow)
	_, err := s.w.Write(b.Bytes())
	return err
}
