package config

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/template"

	"github.com/kelseyhightower/envconfig"
)

// program is what the help text of a binary says besides its settings.
type program struct {
	name     string
	summary  string
	examples []string
}

var (
	serverProgram = program{
		name:    "server",
		summary: "Serves an authenticated database to clients that verify every answer, and lets it grow.",
		examples: []string{
			"server                                    # demonstration data, growing, on 127.0.0.1:8080",
			"server -d ./data -i 0 -t 0 --import a.csv # real data only, kept",
			"server --db immutable --seed 7 -i 1000    # the same roots in every run",
			"PROOFSYNC_HOST=0.0.0.0 server             # settings from the environment",
		},
	}
	clientProgram = program{
		name:    "client",
		summary: "Keeps a verified replica of a server's database.",
		examples: []string{
			"client                                    # follow 127.0.0.1:8080 for ever",
			"client -s db-0.example:8080,db-1.example:8080 -d ./replica -b 5000",
			"client --once --deadline 1m               # one sync, then exit 0",
			"PROOFSYNC_READY_POLICY=max-lag client     # settings from the environment",
		},
	}
	toolProgram = program{
		name:    "proofsync",
		summary: "Defaults of flags of the operator's tool. Flags that it shares with the services by name, as --storage-dir, have the services' variables.",
		examples: []string{
			"PROOFSYNC_URL=http://127.0.0.1:8082 proofsync status",
		},
	}
)

func programOf(cfg any) program {
	switch cfg.(type) {
	case *Client:
		return clientProgram
	case *Tool:
		return toolProgram
	}
	return serverProgram
}

const helpTemplate = `{{$p := program}}{{$p.Summary}}

Usage: {{$p.Name}} [flags]

A flag wins over its variable, a variable over the default. An empty variable counts as not set.

Flags and variables:
{{range .}}{{with option .}}  {{printf "%-38s" .Flags}} {{.Desc}}
  {{printf "%-38s" ""}} {{.Env}}{{if .Default}}, default {{.Default}}{{end}}, {{.Accepts}}
{{end}}{{end}}  {{printf "%-38s" "-h, --help"}} print this text
  {{printf "%-38s" "-V, --version"}} print version, commit and Go version

Examples:
{{range $p.Examples}}  {{.}}
{{end}}`

const markdownTemplate = `{{$p := program}}## {{$p.Name}}

{{$p.Summary}}

| flag | variable | default | accepts | meaning |
|---|---|---|---|---|
{{range .}}{{with option .}}| {{range $i, $f := .FlagList}}{{if $i}}, {{end}}` + "`{{$f}}`" + `{{end}} | ` + "`{{.Env}}`" + ` | {{if .Default}}` + "`{{.Default}}`" + `{{end}} | {{cell .Accepts}} | {{cell .Desc}} |
{{end}}{{end}}
Examples:

` + "```" + `
{{range $p.Examples}}{{.}}
{{end}}` + "```" + `
`

// option is a setting as the templates see it.
type option struct {
	Env, Default, Accepts, Desc string
	FlagList                    []string
}

// Flags joins the forms of the flag for the help text.
func (o option) Flags() string {
	if len(o.FlagList) == 1 {
		return "    " + o.FlagList[0]
	}
	return strings.Join(o.FlagList, ", ")
}

// Usage writes the help text of the binary that is configured by cfg, a *Server
// or *Client.
func Usage(w io.Writer, cfg any) error { return render(w, cfg, helpTemplate) }

// Markdown writes docs/CONFIG.md: the settings of every binary.
func Markdown(w io.Writer) error {
	const head = `# Configuration

Generated from the structs of pkg/config by ` + "`go test ./pkg/config -update`" + `; a test fails when this page is stale.

A flag wins over its variable, a variable over the default; an empty variable counts as not set. A variable that starts
with ` + "`PROOFSYNC_`" + ` and is known to none of our binaries is an error (exit code 2), so in Kubernetes set
` + "`enableServiceLinks: false`" + `: a service named proofsync would otherwise put variables of its own into the pod.

Exit codes: 0 after SIGTERM or SIGINT and after a completed ` + "`--once`" + ` (one that is stopped before: 1), 2 for a mistake in arguments or environment, 1 for everything else.

`
	if _, err := io.WriteString(w, head); err != nil {
		return err
	}
	for i, cfg := range []any{new(Server), new(Client), new(Tool)} {
		if i > 0 {
			if _, err := io.WriteString(w, "\n"); err != nil {
				return err
			}
		}
		if err := render(w, cfg, markdownTemplate); err != nil {
			return err
		}
	}
	return nil
}

// render lets envconfig walk the struct, so that what is shown is what it reads.
func render(w io.Writer, cfg any, text string) error {
	byEnv := make(map[string]field)
	for _, f := range fields(cfg) {
		byEnv[f.env] = f
	}
	tmpl, err := template.New("usage").Funcs(template.FuncMap{
		"program": func() any {
			p := programOf(cfg)
			return struct {
				Name, Summary string
				Examples      []string
			}{p.name, p.summary, p.examples}
		},
		"cell": func(s string) string { return strings.ReplaceAll(s, "|", `\|`) },
		"option": func(info any) (option, error) {
			v := reflect.ValueOf(info)
			key, tags := v.FieldByName("Key").String(), v.FieldByName("Tags").Interface().(reflect.StructTag)
			f, ok := byEnv[key]
			if !ok {
				return option{}, fmt.Errorf("variable %s is not a field", key)
			}
			o := option{Env: f.env, Default: f.def, Accepts: f.accepts(), Desc: tags.Get("desc"), FlagList: []string{"--" + f.flag}}
			if f.short != "" {
				o.FlagList = []string{"-" + f.short, "--" + f.flag}
			}
			return o, nil
		},
	}).Parse(text)
	if err != nil {
		return err
	}
	return envconfig.Usaget(Prefix, cfg, w, tmpl)
}
