package chart

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// certificateSchema is where kubeconform finds a schema for Certificates, made of
// the definition that cert-manager installs; empty: CERT_MANAGER_CRD does not name it.
func certificateSchema(t *testing.T) string {
	t.Helper()
	file := os.Getenv("CERT_MANAGER_CRD")
	if file == "" {
		return ""
	}
	definition, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// helm reads YAML, so there is no need for a library that does.
	chart := t.TempDir()
	for name, text := range map[string]string{
		"Chart.yaml":                "apiVersion: v2\nname: definition\nversion: 0.0.0\n",
		"definition.yaml":           string(definition),
		"templates/definition.yaml": `{{ .Files.Get "definition.yaml" | fromYaml | toJson }}`,
	} {
		path := filepath.Join(chart, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, msg, ok := run(t, nil, tool(t, "helm"), "template", "x", chart)
	if !ok {
		t.Fatal(msg)
	}
	var crd struct {
		Spec struct {
			Names    struct{ Kind string }
			Versions []struct {
				Name   string
				Schema struct{ OpenAPIV3Schema map[string]any }
			}
		}
	}
	if err := json.Unmarshal([]byte(out[strings.Index(out, "{"):]), &crd); err != nil {
		t.Fatal(err)
	}
	if crd.Spec.Names.Kind != "Certificate" || len(crd.Spec.Versions) != 1 {
		t.Fatalf("%s defines %d versions of %q", file, len(crd.Spec.Versions), crd.Spec.Names.Kind)
	}
	version := crd.Spec.Versions[0]
	schema := version.Schema.OpenAPIV3Schema
	closeObjects(schema)
	data, err := json.Marshal(schema)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "certificate-cert-manager-"+version.Name+".json"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir + "/{{.ResourceKind}}{{.KindSuffix}}.json"
}

// closeObjects refuses fields that are not listed wherever some are, as an API
// server does that is asked to be strict.
func closeObjects(schema any) {
	switch s := schema.(type) {
	case map[string]any:
		_, listed := s["properties"].(map[string]any)
		_, open := s["additionalProperties"]
		if listed && !open && s["x-kubernetes-preserve-unknown-fields"] != true {
			s["additionalProperties"] = false
		}
		for _, sub := range s {
			closeObjects(sub)
		}
	case []any:
		for _, sub := range s {
			closeObjects(sub)
		}
	}
}

// TestCertificates: cert-manager knows every field of what the chart asks it for,
// and the schema that says so would notice.
func TestCertificates(t *testing.T) {
	kubeconform, schema := tool(t, "kubeconform"), certificateSchema(t)
	if schema == "" {
		t.Skip("needs CERT_MANAGER_CRD, the definition of cert-manager's Certificate")
	}
	check := func(objects string) (string, bool) {
		out, msg, ok := run(t, []byte(objects), kubeconform, "-strict", "-schema-location", schema)
		return out + msg, ok
	}
	objects := render(t, "-f", filepath.Join(root, "deploy", "values", "signed.yaml"), "--show-only", "templates/tls.yaml")
	if n := strings.Count(objects, "kind: Certificate\n"); n != 3 {
		t.Fatalf("%d certificates", n)
	}
	if msg, ok := check(objects); !ok {
		t.Error(msg)
	}
	for what, change := range map[string][2]string{
		"an unknown field":    {"dnsNames:", "dnsName:"},
		"a missing field":     {"secretName: sync-proofsync-server-tls", "isCA: false"},
		"a value of another":  {"rotationPolicy: Always", "rotationPolicy: Sometimes"},
		"a value of a number": {"duration: 2160h", "duration: 2160"},
		"an unknown usage":    {"usages: [digital signature,", "usages: [digital signatures,"},
	} {
		damaged := strings.Replace(objects, change[0], change[1], 1)
		if damaged == objects {
			t.Errorf("%s: there is no %q", what, change[0])
		} else if msg, ok := check(damaged); ok {
			t.Errorf("%s is accepted: %s", what, msg)
		}
	}
}
