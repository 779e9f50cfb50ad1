package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// output is the flag --output: tables for people, or JSON for programs.
type output struct{ json bool }

// register adds the flag; json says what its JSON is.
func (o *output) register(cmd *cobra.Command, json string) {
	cmd.Flags().VarP(o, "output", "o", "table, or json: "+json)
	complete(cmd, "output", "table", "json")
	fromEnvironment(cmd, "output") // what is wrong there is found by checkEnvironment
}

func (o *output) String() string {
	if o.json {
		return "json"
	}
	return "table"
}

// Set implements pflag.Value.
func (o *output) Set(s string) error {
	if s != "table" && s != "json" {
		return errors.New("table or json expected")
	}
	o.json = s == "json"
	return nil
}

// Type implements pflag.Value.
func (o *output) Type() string { return "form" }

// printJSON writes one indented document.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// jsonLines writes documents, one a line.
func jsonLines(w io.Writer) *json.Encoder {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc
}

// readable is text as it is, if a terminal can show it, and anything else in hexadecimal.
func readable(b []byte) string {
	if !utf8.Valid(b) {
		return hex.EncodeToString(b)
	}
	for _, r := range string(b) {
		if !unicode.IsPrint(r) && r != '\n' && r != '\t' {
			return hex.EncodeToString(b)
		}
	}
	return string(b)
}

// cell is readable for a place that has one line.
func cell(b []byte) string {
	s := readable(b)
	for _, r := range s {
		if r == '\n' || r == '\t' {
			return hex.EncodeToString(b)
		}
	}
	return s
}

// line is a text from elsewhere as one line without control characters.
func line(s string) string {
	out := []rune(s)
	for i, r := range out {
		if !unicode.IsPrint(r) {
			out[i] = ' '
		}
	}
	return string(out)
}

// paint colours text; the zero value leaves it as it is.
type paint struct{ on bool }

// painter colours what goes to a terminal, unless NO_COLOR is set.
func painter(w io.Writer) paint {
	return paint{isTerminal(w) && os.Getenv("NO_COLOR") == ""}
}

func (p paint) in(code, s string) string {
	if !p.on {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p paint) good(s string) string  { return p.in("32", s) }
func (p paint) wait(s string) string  { return p.in("33", s) }
func (p paint) bad(s string) string   { return p.in("31", s) }
func (p paint) faint(s string) string { return p.in("2", s) }
func (p paint) bold(s string) string  { return p.in("1", s) }
