package chart

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// setting is a row of docs/CONFIG.md.
type setting struct{ variable, preset, accepts string }

// documented are the settings of both programs.
func documented(t *testing.T) map[string][]setting {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(root, "docs", "CONFIG.md"))
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string][]setting)
	program := ""
	for line := range strings.Lines(string(page)) {
		if name, ok := strings.CutPrefix(line, "## "); ok {
			program = strings.TrimSpace(name)
		}
		if program != "server" && program != "client" {
			continue // no pod of its own
		}
		// A pipe inside a cell is written \|.
		cells := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|")
		if len(cells) < 6 || !strings.Contains(cells[2], "PROOFSYNC_") {
			continue
		}
		cell := func(i int) string {
			return strings.ReplaceAll(strings.Trim(strings.TrimSpace(cells[i]), "`"), "\x00", "|")
		}
		out[program] = append(out[program], setting{cell(2), cell(3), cell(4)})
	}
	if len(out["server"]) < 10 || len(out["client"]) < 10 {
		t.Fatalf("docs/CONFIG.md was not understood: %v", out)
	}
	return out
}

// key is the name of a variable in the values: PROOFSYNC_OP_INTERVAL is opInterval.
func key(variable string) string {
	words := strings.Split(strings.ToLower(strings.TrimPrefix(variable, "PROOFSYNC_")), "_")
	for i, w := range words[1:] {
		words[i+1] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "")
}

// property is a part of the schema.
type property struct {
	Type        any                 `json:"type"`
	Enum        []string            `json:"enum"`
	Pattern     string              `json:"pattern"`
	Minimum     *float64            `json:"minimum"`
	Properties  map[string]property `json:"properties"`
	Definitions map[string]property `json:"definitions"`
}

func schema(t *testing.T) property {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "helm", "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var p property
	if err := json.Unmarshal(data, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestConfigIsReachable: each variable of a program has its value, and no value is without a variable.
func TestConfigIsReachable(t *testing.T) {
	definitions := schema(t).Definitions
	for program, settings := range documented(t) {
		properties := definitions[program+"Config"].Properties
		var known []string
		for _, s := range settings {
			known = append(known, key(s.variable))
			p, ok := properties[key(s.variable)]
			if !ok {
				t.Errorf("%s: %s has no value %sConfig.%s", program, s.variable, program, key(s.variable))
				continue
			}
			if choices := strings.Split(s.accepts, "|"); regexp.MustCompile(`^[a-z-]+(\|[a-z-]+)+$`).MatchString(s.accepts) && s.accepts != "true|false" && !slices.Equal(choices, p.Enum) {
				t.Errorf("%s: %s accepts %v, the schema %v", program, s.variable, choices, p.Enum)
			}
			if p.Pattern != "" && s.preset != "" && !regexp.MustCompile(p.Pattern).MatchString(s.preset) {
				t.Errorf("%s: the schema refuses %q, the default of %s", program, s.preset, s.variable)
			}
		}
		for name := range properties {
			if !slices.Contains(known, name) {
				t.Errorf("%s: %sConfig.%s sets no variable", program, program, name)
			}
		}
	}
}

// TestConfigIsRendered: a value becomes the variable that it is named after.
func TestConfigIsRendered(t *testing.T) {
	for program, settings := range documented(t) {
		values := make(map[string]any)
		want := make(map[string]string)
		for _, s := range settings {
			text := s.preset
			switch {
			case strings.HasPrefix(s.accepts, "a path"):
				text = "/elsewhere/db"
			case strings.HasPrefix(s.accepts, "paths"):
				text = "/a,/b"
			case s.accepts == "true|false":
				text = "true"
			}
			want[s.variable] = text
			values[key(s.variable)] = text
			if text == "true" {
				values[key(s.variable)] = true
			} else if strings.HasPrefix(s.accepts, "a whole number") || strings.HasPrefix(s.accepts, "a port") {
				values[key(s.variable)] = json.Number(text)
			}
		}
		data, err := json.Marshal(values)
		if err != nil {
			t.Fatal(err)
		}
		file := map[string]string{"server": "server-statefulset", "client": "clients"}[program]
		out := render(t, "--set-json", program+".config="+string(data), "--show-only", "templates/"+file+".yaml")
		for variable, text := range want {
			line := regexp.MustCompile(`- name: ` + variable + "\n" + ` *value: "` + regexp.QuoteMeta(text) + "\"\n")
			if !line.MatchString(out) {
				t.Errorf("%s: %s is not %q in the pod", program, variable, text)
			}
		}
	}
}

// TestSchemaIsClosed: wherever names are listed, no others are accepted.
func TestSchemaIsClosed(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "helm", "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var top any
	if err := json.Unmarshal(data, &top); err != nil {
		t.Fatal(err)
	}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			_, listed := v["properties"]
			conditional := strings.Contains(path, "/if") || strings.Contains(path, "/then")
			if extra, has := v["additionalProperties"]; listed && !conditional && (!has || extra != false) {
				t.Errorf("%s is open", path)
			}
			for k, sub := range v {
				walk(path+"/"+k, sub)
			}
		case []any:
			for _, sub := range v {
				walk(path, sub)
			}
		}
	}
	walk("#", top)
}
