package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
)

// material is what the demonstration imports: sources of Go's standard library
// and what the toolchain recorded about this program.
type material struct {
	tree    string // directory with the sources; empty without a Go installation
	records []textRecord
}

type textRecord struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// sources is the part of the standard library used: some hundred files, a few megabytes.
const sources = "net"

func findMaterial(ctx context.Context) (material, error) {
	var m material
	if root := goroot(ctx); root != "" {
		tree := filepath.Join(root, "src", sources)
		if info, err := os.Stat(tree); err == nil && info.IsDir() {
			m.tree = tree
		}
	}
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, d := range info.Deps {
			if d.Sum != "" {
				m.records = append(m.records, textRecord{"module/" + d.Path + "@" + d.Version, d.Sum})
			}
		}
		for _, s := range info.Settings {
			m.records = append(m.records, textRecord{"build/" + s.Key, s.Value})
		}
	}
	if m.tree == "" && len(m.records) == 0 {
		return m, errors.New("nothing to import: no Go installation found, and this program has no build information")
	}
	return m, nil
}

// goroot finds the Go installation of this machine, if there is one.
func goroot(ctx context.Context) string {
	if root := os.Getenv("GOROOT"); root != "" {
		return root
	}
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

func (m material) String() string {
	about := fmt.Sprintf("%d module checksums and build settings of this program", len(m.records))
	if m.tree == "" {
		return about
	}
	return "the sources in " + m.tree + ", and " + about
}

// recorded says whether a key is one of the records, and not of the tree.
func (m material) recorded(key string) bool {
	return slices.ContainsFunc(m.records, func(r textRecord) bool { return r.Key == key })
}

// write puts the records into a JSON Lines file below dir and returns what to import.
func (m material) write(dir string) (paths []string, err error) {
	if m.tree != "" {
		paths = append(paths, m.tree)
	}
	f, err := os.Create(filepath.Join(dir, "program.jsonl"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	enc := json.NewEncoder(f)
	for _, r := range m.records {
		if err := enc.Encode(r); err != nil {
			return nil, err
		}
	}
	return append(paths, f.Name()), nil
}
