package api

import (
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/proofsync/proofsync/pkg/document"
)

// spec is the part of the OpenAPI document that is checked here. Whether the
// rest is true is tested by running requests made from it, see test/api.
type spec struct {
	Paths      map[string]map[string]specOperation
	Components struct {
		Parameters map[string]specParameter
		Schemas    map[string]specSchema
	}
}

type specOperation struct {
	OperationID string
	Parameters  []specParameter
	Responses   map[string]specResponse
}

type specParameter struct {
	Ref      string `json:"$ref"`
	Name, In string
}

type specResponse struct {
	Content map[string]struct{ Schema specSchema }
}

type specSchema struct {
	Ref        string `json:"$ref"`
	AllOf      []specSchema
	Properties map[string]json.RawMessage
	Required   []string
}

func readSpec(t *testing.T) *spec {
	t.Helper()
	s := new(spec)
	if err := json.Unmarshal(OpenAPI(), s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEveryRouteIsInTheDocumentAndTheReverse(t *testing.T) {
	f := newFixture(t, anyFixed)
	var routes, documented []string
	for _, r := range f.api.routes {
		for m := range r.methods {
			if r != f.api.unknown {
				routes = append(routes, m+" "+r.path)
			}
		}
	}
	for path, methods := range readSpec(t).Paths {
		for m := range methods {
			documented = append(documented, strings.ToUpper(m)+" "+path)
		}
	}
	slices.Sort(routes)
	slices.Sort(documented)
	if !slices.Equal(routes, documented) {
		t.Errorf("routes     %q\ndocumented %q", routes, documented)
	}
	var index struct{ Links map[string]string }
	if err := json.Unmarshal(indexDocument, &index); err != nil {
		t.Fatal(err)
	}
	for _, path := range index.Links {
		if !slices.Contains(routes, "GET "+path) && !slices.Contains(routes, "POST "+path) {
			t.Errorf("the index leads to %s", path)
		}
	}
}

func TestEveryParameterInTheDocumentIsKnown(t *testing.T) {
	f := newFixture(t, anyFixed)
	s := readSpec(t)
	for path, methods := range s.Paths {
		if _, ok := methods["get"]; !ok {
			continue
		}
		var all []string
		for _, p := range methods["get"].Parameters {
			if p.Ref != "" {
				p = s.Components.Parameters[p.Ref[strings.LastIndex(p.Ref, "/")+1:]]
			}
			if p.In == "query" {
				all = append(all, p.Name)
			}
		}
		slices.Sort(all)
		p := f.problem(document.CodeInvalidRequest, http.MethodGet, strings.Replace(path, "{key}", b64(key32(1)), 1)+"?nonsense=1")
		_, known, ok := strings.Cut(p.Detail, "but: ")
		if !ok {
			known = ""
		}
		if got := strings.Join(all, ", "); got != known {
			t.Errorf("GET %s: documented %q, known %q", path, got, known)
		}
	}
}

// Codes that no request to a documented path and method is answered with.
var elsewhere = []document.Code{document.CodeNotFound, document.CodeMethodNotAllowed, document.CodeNotAcceptable}

func TestEveryCodeIsInTheDocumentWithItsStatus(t *testing.T) {
	s := readSpec(t)
	found := map[document.Code]bool{}
	for path, methods := range s.Paths {
		for _, op := range methods {
			for status, r := range op.Responses {
				body, ok := r.Content[document.ProblemType]
				if !ok {
					continue
				}
				var code struct{ Enum []document.Code }
				if err := json.Unmarshal(body.Schema.Properties["code"], &code); err != nil {
					t.Fatal(err)
				}
				for _, c := range code.Enum {
					found[c] = true
					if strconv.Itoa(c.Status()) != status {
						t.Errorf("%s: %s is listed under %s", path, c, status)
					}
				}
			}
		}
	}
	for _, c := range elsewhere {
		if found[c] {
			t.Errorf("%s is listed for a path", c)
		}
		found[c] = true
	}
	var listed struct{ Enum []document.Code }
	if err := json.Unmarshal(s.Components.Schemas["Problem"].Properties["code"], &listed); err != nil {
		t.Fatal(err)
	}
	slices.Sort(listed.Enum)
	for name, got := range map[string][]document.Code{"by the paths": slices.Sorted(maps.Keys(found)), "by Problem": listed.Enum} {
		if want := slices.Sorted(maps.Keys(document.Codes())); !slices.Equal(got, want) {
			t.Errorf("listed %s: %q\nthere are %q", name, got, want)
		}
	}
}

func TestSchemasHaveTheMembersOfTheDocuments(t *testing.T) {
	s := readSpec(t)
	for name, doc := range map[string]any{
		"Head": document.Head{}, "Status": document.Status{}, "Disk": document.Disk{}, "Target": document.Target{}, "Lag": document.Lag{}, "Sync": document.Sync{}, "Source": document.Source{},
		"KeyedEntry": document.Entry{}, "Page": document.Page{}, "Operation": document.Operation{}, "Operations": document.Operations{},
		"Commit": document.Commit{}, "Commits": document.Commits{}, "Proof": document.Proof{}, "Change": document.Change{},
		"RootEvent": document.RootEvent{}, "ChangesEvent": document.ChangesEvent{}, "Batch": document.Batch{}, "Write": document.Write{},
		"Committed": document.Committed{}, "Problem": document.Problem{},
	} {
		all, required := map[string]bool{}, map[string]bool{}
		var add func(specSchema)
		add = func(x specSchema) {
			for _, part := range x.AllOf {
				add(s.Components.Schemas[part.Ref[strings.LastIndex(part.Ref, "/")+1:]])
			}
			for p := range x.Properties {
				all[p] = true
			}
			for _, p := range x.Required {
				required[p] = true
			}
		}
		add(s.Components.Schemas[name])
		members := map[string]bool{}
		membersOf(reflect.TypeOf(doc), members)
		for m := range members {
			if !all[m] {
				t.Errorf("schema %s lacks %q", name, m)
			}
		}
		for m := range all {
			if _, ok := members[m]; !ok {
				t.Errorf("schema %s has %q, the document has not", name, m)
			}
			if required[m] && members[m] && name != "KeyedEntry" { // which is not that of an element of a page
				t.Errorf("schema %s requires %q, which may be absent", name, m)
			}
			if !required[m] && !members[m] && name != "Problem" {
				t.Errorf("schema %s does not require %q, which is never absent", name, m)
			}
		}
	}
}

// membersOf lists JSON members, and whether they may be absent.
func membersOf(t reflect.Type, into map[string]bool) {
	for field := range t.Fields() {
		if field.Anonymous {
			e := field.Type
			if e.Kind() == reflect.Pointer {
				e = e.Elem()
			}
			membersOf(e, into)
			continue
		}
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		into[name] = strings.Contains(options, "omit")
	}
}
