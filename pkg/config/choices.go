package config

import (
	"log/slog"
	"strings"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/retention"
)

// oneOf stores the text in dst when it is one of the choices.
func oneOf[T ~string](dst *T, text []byte, choices string) error {
	for c := range strings.SplitSeq(choices, "|") {
		if string(text) == c {
			*dst = T(text)
			return nil
		}
	}
	return errNotAccepted
}

// Text is text that whoever uses it checks; empty means none.
type Text string

// UnmarshalText implements value.
func (t *Text) UnmarshalText(text []byte) error { *t = Text(text); return nil }

func (t *Text) String() string { return string(*t) }

// Accepts implements value.
func (t *Text) Accepts() string { return "text" }

// Family is the family of the database: any or immutable.
type Family operation.Family

// UnmarshalText implements value.
func (f *Family) UnmarshalText(text []byte) error {
	v, err := operation.ParseFamily(string(text))
	if err != nil {
		return errNotAccepted
	}
	*f = Family(v)
	return nil
}

func (f *Family) String() string { return operation.Family(*f).String() }

// Accepts implements value.
func (f *Family) Accepts() string {
	return operation.Any.String() + "|" + operation.Immutable.String()
}

// Encoding is the encoding of operations: fixed or variable.
type Encoding operation.Encoding

// UnmarshalText implements value.
func (e *Encoding) UnmarshalText(text []byte) error {
	v, err := operation.ParseEncoding(string(text))
	if err != nil {
		return errNotAccepted
	}
	*e = Encoding(v)
	return nil
}

func (e *Encoding) String() string { return operation.Encoding(*e).String() }

// Accepts implements value.
func (e *Encoding) Accepts() string {
	return operation.Fixed.String() + "|" + operation.Variable.String()
}

// FloorPolicy says how the inactivity floor of an immutable database moves.
type FloorPolicy struct{ database.FloorPolicy }

// Accepts implements value.
func (p *FloorPolicy) Accepts() string { return "keep|retain:N, N at least 1" }

// Retain says how much of the log below the inactivity floor is kept.
type Retain struct{ retention.Policy }

// Accepts implements value.
func (p *Retain) Accepts() string { return retention.Syntax }

// LogFormat is the form of log lines.
type LogFormat string

// UnmarshalText implements value.
func (f *LogFormat) UnmarshalText(text []byte) error { return oneOf(f, text, f.Accepts()) }

func (f *LogFormat) String() string { return string(*f) }

// Accepts implements value.
func (f *LogFormat) Accepts() string { return "text|json" }

// LogLevel is the least severity of log lines.
type LogLevel string

// UnmarshalText implements value.
func (l *LogLevel) UnmarshalText(text []byte) error { return oneOf(l, text, l.Accepts()) }

func (l *LogLevel) String() string { return string(*l) }

// Accepts implements value.
func (l *LogLevel) Accepts() string { return "debug|info|warn|error" }

// Level converts to slog's number.
func (l LogLevel) Level() slog.Level {
	var v slog.Level
	if v.UnmarshalText([]byte(l)) != nil {
		return slog.LevelInfo
	}
	return v
}

// OnFork is the reaction to a server whose history contradicts ours.
type OnFork string

// UnmarshalText implements value.
func (o *OnFork) UnmarshalText(text []byte) error { return oneOf(o, text, o.Accepts()) }

func (o *OnFork) String() string { return string(*o) }

// Accepts implements value.
func (o *OnFork) Accepts() string { return "halt|rebuild" }

// CorruptionRebuild is the policy of the client that sets damaged data aside.
const CorruptionRebuild OnCorruption = "rebuild"

// OnCorruption is the reaction to damaged data.
type OnCorruption string

// UnmarshalText implements value.
func (o *OnCorruption) UnmarshalText(text []byte) error { return oneOf(o, text, o.Accepts()) }

func (o *OnCorruption) String() string { return string(*o) }

// Accepts implements value.
func (o *OnCorruption) Accepts() string { return "rebuild|halt" }

// Readiness policies of the client.
const (
	ReadyServing ReadyPolicy = "serving"
	ReadyMaxLag  ReadyPolicy = "max-lag"
)

// ReadyPolicy decides when a client may receive traffic.
type ReadyPolicy string

// UnmarshalText implements value.
func (r *ReadyPolicy) UnmarshalText(text []byte) error { return oneOf(r, text, r.Accepts()) }

func (r *ReadyPolicy) String() string { return string(*r) }

// Accepts implements value.
func (r *ReadyPolicy) Accepts() string { return string(ReadyServing + "|" + ReadyMaxLag) }
