package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestWritten holds the files of the chart against the code they come from.
func TestWritten(t *testing.T) {
	dir := filepath.Join("..", "..", "helm", "files", "dashboards")
	for _, d := range all() {
		want, err := d.render()
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, d.UID+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s.json is stale; run: go run ./deploy/dashboards helm/files/dashboards", d.UID)
		}
	}
}

// TestLayout: panels have titles of their own kind, stay on the grid and do not overlap.
func TestLayout(t *testing.T) {
	for _, d := range all() {
		taken := make(map[[2]int]string)
		for _, p := range d.Panels {
			if p.Type != "row" && len(p.Targets) == 0 {
				t.Errorf("%s: %q asks nothing", d.UID, p.Title)
			}
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					if other, ok := taken[[2]int{x, y}]; ok || x >= 24 {
						t.Fatalf("%s: %q lies on %q or off the grid", d.UID, p.Title, other)
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
		}
	}
}
