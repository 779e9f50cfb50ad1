package remote

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/proofsync/proofsync/pkg/document"
)

func TestABackupIsAskedForAndReported(t *testing.T) {
	var s *served
	s = serve(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.api.Local().ServeHTTP(w, r) })
	})
	c := s.client(t, Options{})
	sizes := fill(t, c, "a", "1")
	out := filepath.Join(t.TempDir(), "with space & more")
	b, err := c.Backup(t.Context(), out, nil)
	if err != nil || b.Size != sizes[0] || b.Path != out {
		t.Fatalf("%+v %v", b, err)
	}
	if _, err := c.Backup(t.Context(), out, nil); code(err) != document.CodeInvalidRequest {
		t.Errorf("a second one at the same place: %v", err)
	}
	network := serve(t, nil).client(t, Options{})
	if _, err := network.Backup(t.Context(), out+"2", nil); code(err) != document.CodeNotFound {
		t.Errorf("over the network: %v", err)
	}
}

func TestABackupThatTakesLongIsFollowedToItsEnd(t *testing.T) {
	for answer, want := range map[string]string{
		`{"done_bytes":9,"total_bytes":9,"backup":{"size":3}}`:        "",
		`{"problem":{"code":"database","detail":"the disk is full"}}`: "the disk is full",
		``:                         "broken off",
		`nonsense`:                 "not understood",
		strings.Repeat("x", 2<<20): "too large",
	} {
		c := stand(t, func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "{\"done_bytes\":1,\"total_bytes\":9}\n{\"done_bytes\":5,\"total_bytes\":9}\n", answer)
		})
		var heard []int64
		b, err := c.Backup(t.Context(), "/out", func(done, _ int64) { heard = append(heard, done) })
		if fmt.Sprint(heard) != "[1 5]" {
			t.Errorf("%.20s: heard of %d", answer, heard)
		}
		if want == "" {
			if err != nil || b.Size != 3 {
				t.Errorf("%+v %v", b, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20s: %v", answer, err)
		}
	}
}
