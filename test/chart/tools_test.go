package chart

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write deploy/kustomize/manifests.yaml")

// root is the top of the repository.
var root = filepath.Join("..", "..")

// tool is the path of a program that is not part of the repository.
func tool(t *testing.T, name string) string {
	t.Helper()
	program := os.Getenv(variable(name))
	if program == "" {
		program = name
	}
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("CHART_TOOLS") == "required" {
			t.Fatal(err)
		}
		t.Skipf("needs %s in PATH or %s", name, variable(name))
	}
	return path
}

// run returns standard output and error of a command, and whether it succeeded.
func run(t *testing.T, stdin []byte, program string, args ...string) (stdout, stderr string, ok bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	ok = cmd.Run() == nil
	return out.String(), err.String(), ok
}

// render is what helm makes of the chart with further arguments.
func render(t *testing.T, args ...string) string {
	t.Helper()
	out, msg, ok := run(t, nil, tool(t, "helm"), append([]string{"template", "sync", filepath.Join(root, "helm")}, args...)...)
	if !ok {
		t.Fatalf("helm template %s: %s", strings.Join(args, " "), msg)
	}
	return out
}

// examples are the values files of deploy/values, and none.
func examples(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "deploy", "values", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no example values: %v", err)
	}
	sets := map[string][]string{"defaults": nil}
	for _, f := range files {
		sets[strings.TrimSuffix(filepath.Base(f), ".yaml")] = []string{"-f", f}
	}
	return sets
}

// variable is the environment variable that names a tool: HELM_DOCS for helm-docs.
func variable(tool string) string {
	return strings.ToUpper(strings.ReplaceAll(tool, "-", "_"))
}
