package chart

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestSkaffoldSchema validates skaffold.yaml, by letting helm take it for the
// values of a chart: against our own description of what we use of it, and, when
// SKAFFOLD_SCHEMA names the file, against the schema that skaffold publishes.
func TestSkaffoldSchema(t *testing.T) {
	helm := tool(t, "helm")
	config, err := os.ReadFile(filepath.Join(root, "skaffold.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	schemas := []string{filepath.Join("testdata", "skaffold.schema.json")}
	if published := os.Getenv("SKAFFOLD_SCHEMA"); published != "" {
		schemas = append(schemas, published)
	}
	for _, file := range schemas {
		dir := t.TempDir()
		schema, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		write := func(name string, data []byte) {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		write("Chart.yaml", []byte("apiVersion: v2\nname: skaffold\nversion: 0.0.0\n"))
		write("values.schema.json", schema)
		write("values.yaml", config)
		if _, msg, ok := run(t, nil, helm, "template", "x", dir); !ok {
			t.Errorf("%s: %s", filepath.Base(file), msg)
		}
		for _, name := range []string{"chartPath", "resourceName", "buildArgs", "statusCheckDeadlineSeconds"} {
			write("values.yaml", bytes.Replace(config, []byte(name), []byte(strings.ToLower(name)), 1))
			if _, _, ok := run(t, nil, helm, "template", "x", dir); ok {
				t.Errorf("%s accepts %s in lower case", filepath.Base(file), name)
			}
		}
	}
}

// TestSkaffoldFollows what skaffold.yaml names: files, and the objects it
// forwards ports of.
func TestSkaffoldFollows(t *testing.T) {
	config, err := os.ReadFile(filepath.Join(root, "skaffold.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	objects := make(map[string]string) // by profile
	for _, name := range []string{"dev", "prod-like"} {
		file := filepath.Join("deploy", "values", name+".yaml")
		if !bytes.Contains(config, []byte(filepath.ToSlash(file))) {
			t.Errorf("skaffold.yaml does not use %s", file)
		}
		objects[name] = render(t, "-f", filepath.Join(root, file))
	}
	base, prod, _ := strings.Cut(string(config), "name: prod-like")
	for profile, text := range map[string]string{"dev": base, "prod-like": prod} {
		forwards := regexp.MustCompile(`resourceType: (\w+), resourceName: ([\w-]+), port: (\d+)`).FindAllStringSubmatch(text, -1)
		if len(forwards) < 3 {
			t.Errorf("%s forwards %d ports", profile, len(forwards))
		}
		for _, f := range forwards {
			found := false
			for object := range strings.SplitSeq(objects[profile], "\n---\n") {
				kind := regexp.MustCompile(`(?mi)^kind: ` + f[1] + `$`).MatchString(object)
				found = found || kind && strings.Contains(object, "  name: "+f[2]+"\n") && regexp.MustCompile(`(?i)port: `+f[3]+`\n`).MatchString(object)
			}
			if !found {
				t.Errorf("%s: there is no %s %s with port %s", profile, f[1], f[2], f[3])
			}
		}
	}
	if !strings.Contains(objects["dev"], "PROOFSYNC_ON_FORK\n              value: \"rebuild\"") {
		t.Error("dev: clients of a server without a volume do not rebuild")
	}
}

// TestReadme holds the chart's README against values.yaml and its template.
func TestReadme(t *testing.T) {
	docs := tool(t, "helm-docs")
	want, msg, ok := run(t, nil, docs, "--dry-run", "--chart-search-root", filepath.Join(root, "helm"), "--log-level", "warning")
	if !ok {
		t.Fatal(msg)
	}
	got, err := os.ReadFile(filepath.Join(root, "helm", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(got)) != strings.TrimSpace(want) {
		t.Error("helm/README.md is stale; run: helm-docs -c helm")
	}
}

// TestReadmeNamesEveryValue needs no tool: a value without a row was forgotten.
func TestReadmeNamesEveryValue(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(root, "helm", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	s := schema(t)
	var walk func(path string, p property)
	walk = func(path string, p property) {
		for name, sub := range p.Properties {
			at := strings.TrimPrefix(path+"."+name, ".")
			switch {
			case at == "global" || at == "server.config" || at == "client.config":
			case len(sub.Properties) > 0:
				walk(at, sub)
			case !strings.Contains(string(readme), "`"+at) && !strings.Contains(string(readme), "`"+path+"`"):
				t.Errorf("helm/README.md does not name %s", at)
			}
		}
	}
	walk("", s)
}

// TestImageArguments: `make image` gives the Dockerfile everything it asks for, and nothing else.
func TestImageArguments(t *testing.T) {
	find := func(file, pattern string) []string {
		data, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(data), -1) {
			out = append(out, m[1])
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	given := find("Makefile", `--build-arg (\w+)=`)
	// Not those that have a default of their own or are set by the builder.
	asked := find("Dockerfile", `(?m)^ARG ([A-Z_]+)=0?$`)
	if !slices.Equal(given, asked) || len(given) == 0 {
		t.Errorf("make image gives %v, the Dockerfile asks for %v", given, asked)
	}
}

// TestImageContext: what the image is made of is let in, what tests need is not.
func TestImageContext(t *testing.T) {
	ignore, err := os.ReadFile(filepath.Join(root, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"*", "!go.mod", "!go.sum", "!cmd", "!pkg", "**/*_test.go", "**/testdata"} {
		if !strings.Contains("\n"+string(ignore), "\n"+line+"\n") {
			t.Errorf(".dockerignore has no line %q", line)
		}
	}
	docker, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(module)
	got := regexp.MustCompile(`(?m)^ARG GO_VERSION=(\d+\.\d+)`).FindSubmatch(docker)
	if want == nil || got == nil || !bytes.Equal(want[1], got[1]) {
		t.Errorf("go.mod wants Go %q, the Dockerfile has %q", want, got)
	}
}
