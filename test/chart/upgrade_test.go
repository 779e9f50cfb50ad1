package chart

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestUpgradeIsBoring: with the default values of an older chart, which is all
// that `helm upgrade --reuse-values` gives the templates, this chart makes of a
// release what it makes of its own defaults. What is new has to be asked for, and
// no template may need a block that older values do not have.
func TestUpgradeIsBoring(t *testing.T) {
	helm := tool(t, "helm")
	older, err := filepath.Glob(filepath.Join("testdata", "values-*.yaml"))
	if err != nil || len(older) == 0 {
		t.Fatalf("no values of older charts: %v", err)
	}
	// Values that somebody has set in the old release, and the new one has to take.
	releases := map[string][]string{"defaults": nil}
	for _, name := range []string{"dev", "prod-like", "followers", "everything"} {
		releases[name] = []string{"-f", filepath.Join(root, "deploy", "values", name+".yaml")}
	}
	for _, values := range older {
		chart := filepath.Join(t.TempDir(), "proofsync")
		if err := os.CopyFS(chart, os.DirFS(filepath.Join(root, "helm"))); err != nil {
			t.Fatal(err)
		}
		old, err := os.ReadFile(values)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(chart, "values.yaml"), old, 0o644); err != nil {
			t.Fatal(err)
		}
		for name, args := range releases {
			got, msg, ok := run(t, nil, helm, append([]string{"template", "sync", chart}, args...)...)
			if !ok {
				t.Errorf("%s, %s: %s", filepath.Base(values), name, msg)
				continue
			}
			if want := render(t, args...); got != want {
				t.Errorf("%s, %s: the objects differ from those of today's defaults: %s", filepath.Base(values), name, firstDifference(got, want))
			}
		}
		// Whoever wants more than that is told how.
		_, msg, ok := run(t, nil, helm, "template", "sync", chart, "--set", "witness.enabled=true")
		if ok || !strings.Contains(msg, "--reset-then-reuse-values") {
			t.Errorf("%s: a witness without its defaults: %s", filepath.Base(values), msg)
		}
	}
}

// firstDifference is the first line in which two texts differ.
func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return a[i] + " instead of " + b[i]
		}
	}
	return "one is longer"
}

// TestSelectorsStay: what an upgrade can not change of a StatefulSet or Deployment
// is what it was in the first chart.
func TestSelectorsStay(t *testing.T) {
	out := render(t)
	for _, line := range []string{
		"serviceName: sync-proofsync-server-headless",
		"podManagementPolicy: OrderedReady",
	} {
		if !strings.Contains(out, line) {
			t.Errorf("no %q any more", line)
		}
	}
	selectors := regexp.MustCompile(`(?m)^  selector:\n    matchLabels:\n((?:      .*\n)+)`).FindAllStringSubmatch(out, -1)
	want := []string{
		"app.kubernetes.io/name: proofsync app.kubernetes.io/instance: sync app.kubernetes.io/component: client proofsync/client: replica",
		"app.kubernetes.io/name: proofsync app.kubernetes.io/instance: sync app.kubernetes.io/component: server",
	}
	if len(selectors) != len(want) {
		t.Fatalf("%d workloads have a selector, %d expected", len(selectors), len(want))
	}
	for i, s := range selectors {
		if got := strings.Join(strings.Fields(s[1]), " "); got != strings.Join(strings.Fields(want[i]), " ") {
			t.Errorf("selector %q, was %q", got, want[i])
		}
	}
}
