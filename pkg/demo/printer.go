package demo

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/proofsync/proofsync/pkg/mmr"
)

// printer writes the narration. Its first error ends the output, not the show.
type printer struct {
	w    io.Writer
	live bool // a row may be overwritten until it is final
	err  error
}

func (p *printer) write(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *printer) say(what, format string, args ...any) {
	p.write("%-10s %s\n", what, fmt.Sprintf(format, args...))
}

func (p *printer) header() {
	p.write("\n%-26s %7s  %-12s  %-12s  %-12s  %s\n", "change", "size", "server", "client-a", "client-b", "in step after")
}

// partial shows a row whose replicas are still catching up.
func (p *printer) partial(change string, h head, replicas []*replica) {
	if p.live {
		p.write("\r%s", format(change, h, replicas))
	}
}

func (p *printer) row(change string, h head, replicas []*replica, after time.Duration) {
	start := ""
	if p.live {
		start = "\r"
	}
	p.write("%s%s  %s\n", start, format(change, h, replicas), after.Round(time.Millisecond))
}

func format(change string, h head, replicas []*replica) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-26s %7d  %s", change, h.Size, short(h.Root))
	for _, r := range replicas {
		b.WriteString("  ")
		if at := r.head(); at.Size > 0 {
			b.WriteString(short(at.Root))
		} else {
			fmt.Fprintf(&b, "%-12s", "empty")
		}
	}
	return b.String()
}

// short is enough of a root to tell it from others.
func short(d mmr.Digest) string { return d.String()[:12] }

// tail is the last line of a value, or its end.
func tail(value []byte) string {
	s := strings.TrimRight(string(value), "\n")
	s = s[strings.LastIndexByte(s, '\n')+1:]
	return s[max(0, len(s)-40):]
}
