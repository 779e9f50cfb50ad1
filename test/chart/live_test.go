package chart

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestQueriesHaveData runs every query of every dashboard, and every metric that
// an alert names, in Prometheus's own engine on what a server, a client and a witness export.
func TestQueriesHaveData(t *testing.T) {
	promtool := tool(t, "promtool")
	samples := newCluster(t).sample(t)

	type panel struct {
		Title   string
		Targets []struct{ Expr string }
	}
	var queries []string
	files, err := filepath.Glob(filepath.Join(root, "helm", "files", "dashboards", "*.json"))
	if err != nil || len(files) < 4 {
		t.Fatalf("%d dashboards: %v", len(files), err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var d struct{ Panels []panel }
		if err := json.Unmarshal(data, &d); err != nil {
			t.Fatal(err)
		}
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				queries = append(queries, q.Expr)
			}
		}
	}
	rules, err := os.ReadFile(filepath.Join(root, "helm", "files", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, metric := range regexp.MustCompile(`proofsync_[a-z_]+`).FindAllString(string(rules), -1) {
		if metric != "proofsync_serve_database_failures_total" { // has no series until there is a failure
			queries = append(queries, metric)
		}
	}
	slices.Sort(queries)
	queries = slices.Compact(queries)

	variables := strings.NewReplacer("$namespace", ".*", "$pod", ".*", "$__rate_interval", "1m", "$__range", "3m")
	var test strings.Builder
	test.WriteString("evaluation_interval: 15s\ntests:\n  - interval: 15s\n    input_series:\n")
	for _, s := range samples {
		fmt.Fprintf(&test, "      - {series: %q, values: %q}\n", s.series, strings.Join(s.values, " "))
	}
	test.WriteString("    promql_expr_test:\n")
	for _, q := range queries {
		fmt.Fprintf(&test, "      - expr: %q\n        eval_time: %s\n        exp_samples: [{labels: '{}', value: 1}]\n",
			"count("+variables.Replace(q)+") > bool 0", (scrapes-1)*interval)
	}
	file := filepath.Join(t.TempDir(), "live.yaml")
	if err := os.WriteFile(file, []byte(test.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, msg, ok := run(t, nil, promtool, "test", "rules", file); !ok {
		t.Errorf("queries without data: %s%s", out, msg)
	}
	t.Logf("%d queries on %d live series", len(queries), len(samples))
}

// TestAlerts: the rules are well formed, and each fires and does not fire.
func TestAlerts(t *testing.T) {
	promtool := tool(t, "promtool")
	for _, args := range [][]string{
		{"check", "rules", filepath.Join(root, "helm", "files", "alerts.yaml")},
		{"test", "rules", filepath.Join(root, "deploy", "alerts", "tests.yaml")},
	} {
		if out, msg, ok := run(t, nil, promtool, args...); !ok {
			t.Errorf("promtool %s: %s%s", strings.Join(args, " "), out, msg)
		}
	}
}

// TestRunbooks: each alert has a page, each page an alert, and each alert is seen firing in the tests.
func TestRunbooks(t *testing.T) {
	rules, err := os.ReadFile(filepath.Join(root, "helm", "files", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile(filepath.Join(root, "deploy", "alerts", "tests.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var pages []string
	for _, m := range regexp.MustCompile(`(?s)alert: (\w+).*?runbooks/([a-z-]+\.md)`).FindAllStringSubmatch(string(rules), -1) {
		pages = append(pages, m[2])
		page, err := os.ReadFile(filepath.Join(root, "deploy", "runbooks", m[2]))
		if err != nil {
			t.Error(err)
		} else if !strings.Contains(string(page), m[1]) {
			t.Errorf("%s does not name %s", m[2], m[1])
		}
		if !strings.Contains(string(tests), `alertname="`+m[1]+`"`) {
			t.Errorf("%s is not seen firing in deploy/alerts/tests.yaml", m[1])
		}
	}
	files, err := filepath.Glob(filepath.Join(root, "deploy", "runbooks", "*.md"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no runbooks: %v", err)
	}
	for _, f := range files {
		if base := filepath.Base(f); base != "README.md" && !slices.Contains(pages, base) {
			t.Errorf("no alert leads to %s", base)
		}
	}
}
