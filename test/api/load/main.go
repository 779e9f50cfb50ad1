// Command load measures the HTTP API of a running process: how many requests a
// second it answers, and how long the slowest of a hundred take.
//
//	go run ./test/api/load --url http://127.0.0.1:8081 [--token-file FILE] [SCENARIO...]
//
// The scenarios are key, proof, list, watch and batch; all are run if none is
// named, of which watch and batch need a token because they write. Every
// connection sends one request after the other and is kept. The program speaks
// HTTP/1.1 by itself: it usually shares its processors with what it measures.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// settings are what the flags say.
type settings struct {
	host     string // host:port
	token    string
	duration time.Duration
	conns    int
	keys     int
	watchers int
	writers  int
	commits  int
}

// result is a line of the table.
type result struct {
	Scenario  string  `json:"scenario"`
	Unit      string  `json:"unit"` // of what Rate counts
	Rate      float64 `json:"rate"` // a second
	Requests  int     `json:"requests"`
	P50Millis float64 `json:"p50_ms"`
	P99Millis float64 `json:"p99_ms"`
	MaxMillis float64 `json:"max_ms"`
	Errors    int     `json:"errors"`
	Error     string  `json:"error,omitempty"` // the first one
}

var scenarios = []struct {
	name string
	run  func(*settings) (result, error)
}{
	{"key", func(s *settings) (result, error) { return readKeys(s, "") }},
	{"proof", func(s *settings) (result, error) { return readKeys(s, "?proof=true") }},
	{"list", list},
	{"watch", watch},
	{"batch", batch},
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var s settings
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	at := flags.String("url", "http://127.0.0.1:8081", "address of the API")
	token := flags.String("token-file", "", "file with the bearer token for writes")
	asJSON := flags.Bool("json", false, "print JSON in place of a table")
	flags.DurationVar(&s.duration, "duration", 5*time.Second, "time of each scenario")
	flags.IntVar(&s.conns, "connections", 32, "connections that read")
	flags.IntVar(&s.keys, "keys", 100_000, "different keys to read, at most")
	flags.IntVar(&s.watchers, "watchers", 1000, "watch streams")
	flags.IntVar(&s.writers, "writers", 64, "connections that write")
	flags.IntVar(&s.commits, "commits", 20, "commits that are watched")
	if err := flags.Parse(args); err != nil {
		return err
	}
	u, err := url.Parse(*at)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return fmt.Errorf("url %q: http://host:port expected", *at)
	}
	s.host = u.Host
	if *token != "" {
		b, err := os.ReadFile(*token)
		if err != nil {
			return err
		}
		s.token = strings.TrimSpace(string(b))
	}
	var results []result
	for _, one := range scenarios {
		if flags.NArg() > 0 && !slices.Contains(flags.Args(), one.name) {
			continue
		}
		if s.token == "" && (one.name == "watch" || one.name == "batch") {
			fmt.Fprintln(os.Stderr, "load: left out without --token-file:", one.name)
			continue
		}
		r, err := one.run(&s)
		if err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
		r.Scenario = one.name
		results = append(results, r)
	}
	if len(results) == 0 {
		return errors.New("no scenario: key, proof, list, watch, batch")
	}
	if *asJSON {
		return json.NewEncoder(os.Stdout).Encode(results)
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "scenario\trate/s\tof\trequests\tp50 ms\tp99 ms\tmax ms\terrors\t")
	for _, r := range results {
		fmt.Fprintf(t, "%s\t%.0f\t%s\t%d\t%.2f\t%.2f\t%.2f\t%d\t\n", r.Scenario, r.Rate, r.Unit, r.Requests, r.P50Millis, r.P99Millis, r.MaxMillis, r.Errors)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, r := range results {
		if r.Error != "" {
			return fmt.Errorf("%s: %s", r.Scenario, r.Error)
		}
	}
	return nil
}

// summarize sorts the durations and fills a result.
func summarize(took []time.Duration, failed []error) result {
	slices.Sort(took)
	r := result{Requests: len(took), Errors: len(failed)}
	if len(failed) > 0 {
		r.Error = failed[0].Error()
	}
	if len(took) == 0 {
		return r
	}
	at := func(share float64) float64 {
		return float64(took[int(share*float64(len(took)-1))]) / float64(time.Millisecond)
	}
	r.P50Millis, r.P99Millis, r.MaxMillis = at(0.5), at(0.99), at(1)
	return r
}
