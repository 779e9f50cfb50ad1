package telemetry

import (
	"context"
	"encoding"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// NewLogger returns a logger that writes to w lines at or above level: JSON
// objects when format is "json", otherwise the text of Handler. Durations read
// the same in both, "1.5s".
func NewLogger(w io.Writer, format string, level slog.Leveler) *slog.Logger {
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: readable}))
	}
	return slog.New(NewHandler(w, level))
}

// readable makes a string of a duration, which slog's JSON has as a number of
// nanoseconds that does not say its unit.
func readable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// Handler writes one line per record: time in UTC, level, message and
// attributes, a value in quotes when it would not be one word otherwise.
//
//	2026-01-02T15:04:05.678Z INFO database ready op_count=111 root=5feceb66…
//
// It is safe for use by several goroutines; a line is one call of Write.
type Handler struct {
	level  slog.Leveler
	prefix string // of keys: the open groups, each followed by a dot
	attrs  []byte // attributes of With, already formatted
	out    *output
}

// output is shared by a handler and those derived from it.
type output struct {
	mu sync.Mutex
	w  io.Writer
}

// NewHandler returns a handler for records at or above level; nil means info.
func NewHandler(w io.Writer, level slog.Leveler) *Handler {
	if level == nil {
		level = slog.LevelInfo
	}
	return &Handler{level: level, out: &output{w: w}}
}

// Enabled implements slog.Handler.
func (h *Handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	d := *h
	d.attrs = slices.Clip(slices.Clone(h.attrs))
	for _, a := range attrs {
		d.attrs = appendAttr(d.attrs, h.prefix, a)
	}
	return &d
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	d := *h
	d.prefix += name + "."
	return &d
}

// Handle implements slog.Handler.
func (h *Handler) Handle(_ context.Context, r slog.Record) error {
	b := make([]byte, 0, 256)
	if !r.Time.IsZero() {
		b = appendTime(b, r.Time)
		b = append(b, ' ')
	}
	b = append(b, r.Level.String()...)
	b = append(b, ' ')
	if strings.ContainsFunc(r.Message, unicode.IsControl) {
		b = strconv.AppendQuote(b, r.Message)
	} else {
		b = append(b, r.Message...)
	}
	b = append(b, h.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		b = appendAttr(b, h.prefix, a)
		return true
	})
	b = append(b, '\n')
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	_, err := h.out.w.Write(b)
	return err
}

func appendTime(b []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
}

func appendAttr(b []byte, prefix string, a slog.Attr) []byte {
	v := a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return b
	}
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, inner := range v.Group() {
			b = appendAttr(b, prefix, inner)
		}
		return b
	}
	b = append(b, ' ')
	b = appendWord(b, prefix+a.Key)
	b = append(b, '=')
	if v.Kind() == slog.KindTime {
		return appendTime(b, v.Time())
	}
	return appendWord(b, text(v))
}

func text(v slog.Value) string {
	if v.Kind() != slog.KindAny {
		return v.String()
	}
	switch x := v.Any().(type) {
	case error:
		return x.Error()
	case encoding.TextMarshaler:
		if t, err := x.MarshalText(); err == nil {
			return string(t)
		}
	}
	return fmt.Sprintf("%+v", v.Any())
}

// appendWord quotes what would not read back as one word.
func appendWord(b []byte, s string) []byte {
	if s == "" || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool {
		return r == '"' || r == '=' || unicode.IsSpace(r) || !unicode.IsPrint(r)
	}) {
		return strconv.AppendQuote(b, s)
	}
	return append(b, s...)
}
