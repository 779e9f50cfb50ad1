package config

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/caarlos0/env/v11"
	"github.com/kelseyhightower/envconfig"
	"github.com/spf13/pflag"
)

// ErrHelp and ErrVersion report that the arguments ask for the help text or the
// version instead of a run.
var (
	ErrHelp    = errors.New("help requested")
	ErrVersion = errors.New("version requested")
)

// errNotAccepted is what values say about text that is none of theirs; the
// message comes from Accepts.
var errNotAccepted = errors.New("value not accepted")

// UsageError is a mistake in the arguments or the environment: a process ends
// with exit code 2 and this one line.
type UsageError struct {
	Name   string // of the flag, variable or setting
	Value  string // as given
	Reason string // what is wrong, or what is accepted
}

func (e *UsageError) Error() string {
	switch {
	case e.Value == "":
		return e.Name + ": " + e.Reason
	case strings.Contains(e.Value, "PRIVATE+KEY"): // of whoever mixed up the two: logs are not for secrets
		return e.Name + " (a private key, not shown): " + e.Reason
	}
	return fmt.Sprintf("%s %.200q: %s", e.Name, e.Value, e.Reason)
}

// ParseServer reads the server's configuration from its arguments (without the
// program's name) and the environment. Errors: ErrHelp, ErrVersion, *UsageError.
func ParseServer(args []string) (*Server, error) {
	c := new(Server)
	if err := parse(c, args); err != nil {
		return nil, err
	}
	return c, c.Validate()
}

// ParseClient is ParseServer for the client.
func ParseClient(args []string) (*Client, error) {
	c := new(Client)
	if err := parse(c, args); err != nil {
		return nil, err
	}
	return c, c.Validate()
}

func parse(cfg any, args []string) error {
	all := fields(cfg)
	set, err := readFlags(all, args)
	if err != nil {
		return err
	}
	if err := CheckEnvironment(); err != nil {
		return err
	}
	if err := readEnvironment(cfg, all); err != nil {
		return err
	}
	for _, s := range set {
		if err := s.apply(); err != nil {
			return err
		}
	}
	return nil
}

// given is a flag as it stood on the command line.
type given struct {
	field field
	text  string
	first bool // of its name: replaces the value so far
}

// list is a value whose flag may be repeated.
type list interface {
	reset()
	appendText(text string) error
}

// apply stores the flag's value; a flag of a list that is given again adds to it.
func (g given) apply() error {
	var err error
	if l, ok := g.field.value.(list); ok {
		if g.first {
			l.reset()
		}
		err = l.appendText(g.text)
	} else {
		err = g.field.value.UnmarshalText([]byte(g.text))
	}
	if err != nil {
		return &UsageError{Name: "--" + g.field.flag, Value: g.text, Reason: "want " + g.field.accepts()}
	}
	return nil
}

// recorder is a pflag.Value that only notes what it is given: flags are applied
// after the environment, which they override.
type recorder struct {
	field field
	set   *[]given
	seen  bool
}

func (r *recorder) String() string { return r.field.def }

func (r *recorder) Type() string { return "value" }

func (r *recorder) Set(text string) error {
	*r.set = append(*r.set, given{r.field, text, !r.seen})
	r.seen = true
	return nil
}

// readFlags returns the flags that were given, in order.
func readFlags(all []field, args []string) ([]given, error) {
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	fs.SortFlags = false
	fs.Usage = func() {}
	help := fs.BoolP("help", "h", false, "")
	version := fs.BoolP("version", "V", false, "")
	var set []given
	for _, f := range all {
		flag := fs.VarPF(&recorder{field: f, set: &set}, f.flag, f.short, "")
		if _, ok := f.value.(*Bool); ok {
			flag.NoOptDefVal = "true"
		}
	}
	err := fs.Parse(args)
	switch {
	case err != nil:
		return nil, &UsageError{Name: firstLine(err.Error()), Reason: "see --help"}
	case *help:
		return nil, ErrHelp
	case *version:
		return nil, ErrVersion
	case fs.NArg() > 0:
		return nil, &UsageError{Name: "argument", Value: fs.Arg(0), Reason: "no arguments are taken, only flags; see --help"}
	}
	return set, nil
}

func firstLine(s string) string { s, _, _ = strings.Cut(s, "\n"); return s }

// envOptions make caarlos0/env read our tags.
func envOptions() env.Options {
	return env.Options{Prefix: Prefix + "_", DefaultValueTagName: "default", Environment: env.ToMap(os.Environ())}
}

// readEnvironment sets every field from its variable or default.
func readEnvironment(cfg any, all []field) error {
	err := env.ParseWithOptions(cfg, envOptions())
	if err == nil {
		return nil
	}
	if bad, ok := errors.AsType[env.ParseError](err); ok {
		for _, f := range all {
			if f.goName == bad.Name {
				return &UsageError{Name: f.env, Value: os.Getenv(f.env), Reason: "want " + f.accepts()}
			}
		}
	}
	return &UsageError{Name: "environment", Reason: firstLine(err.Error())}
}

// union has the variables of all our binaries. A pod or shell may hold settings
// for several of them, so a variable is unknown only if none knows it.
type union struct {
	Server
	Client
	Tool
}

// CheckEnvironment refuses PROOFSYNC_ variables that none of our binaries knows:
// a misspelt setting must not be ignored. The operator's tool calls it as well.
// The error is a *UsageError.
func CheckEnvironment() error {
	err := envconfig.CheckDisallowed(Prefix, new(union))
	if err == nil {
		return nil
	}
	name := err.Error()[strings.LastIndexByte(err.Error(), ' ')+1:]
	reason := "unknown variable"
	if near := nearest(name); near != "" {
		reason += ", did you mean " + near + "?"
	} else {
		reason += "; server --help and client --help list the known ones"
	}
	return &UsageError{Name: name, Reason: reason}
}

// nearest is the known variable within two edits of name, or "".
func nearest(name string) string {
	best, least := "", 3
	for _, cfg := range []any{new(Server), new(Client), new(Tool)} {
		for _, f := range fields(cfg) {
			if d := distance(name, f.env); d < least {
				best, least = f.env, d
			}
		}
	}
	return best
}

// distance is the number of characters inserted, left out, changed or swapped
// with their neighbour between two short strings (optimal string alignment).
func distance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			changed := 1
			if a[i-1] == b[j-1] {
				changed = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+changed)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
