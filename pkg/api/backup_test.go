package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
)

func newDiskFixture(t *testing.T, create bool) *fixture {
	t.Helper()
	db, err := database.Open(t.TempDir(), database.Options{Codec: anyFixed, CreateIfMissing: create, Epoch: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return fixtureOf(t, db)
}

// ask sends a request for a backup through a door.
func askBackup(h http.Handler, method, query string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, "/local/backup"+query, nil))
	return w
}

func TestABackupIsMadeThroughTheSocket(t *testing.T) {
	f := newDiskFixture(t, true)
	c := f.put(key32(1), key32(2))
	out := filepath.Join(t.TempDir(), "out")
	w := askBackup(f.api.Local(), http.MethodPost, "?path="+url.QueryEscape(out))
	// The last line is the result; a backup that took a second has others before it.
	lines := bytes.Split(bytes.TrimSpace(w.Body.Bytes()), []byte("\n"))
	var e document.BackupEvent
	if err := json.Unmarshal(lines[len(lines)-1], &e); err != nil || w.Code != http.StatusOK || e.Backup == nil {
		t.Fatalf("%d %s %v", w.Code, w.Body, err)
	}
	if b := e.Backup; b.Path != out || b.Root != c.Root.String() || b.Size != c.Size || b.Epoch != 4 || b.Files == 0 || b.Bytes == 0 {
		t.Errorf("%+v", b)
	}
	db, err := database.Open(out, database.Options{Codec: anyFixed, ReadOnly: true})
	if err != nil || db.Epoch() != 4 {
		t.Fatal(err)
	}
	_ = db.Close()
	if s := f.api.Status(); s.Epoch != 4 {
		t.Errorf("status says epoch %d", s.Epoch)
	}
}

func TestTheNetworkHasNoBackups(t *testing.T) {
	f := newDiskFixture(t, true)
	out := filepath.Join(t.TempDir(), "out")
	for _, path := range []string{"/local/backup", "//local/backup", "/local/./backup", "/v1/../local/backup"} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.URL = &url.URL{Path: path, RawQuery: "path=" + url.QueryEscape(out)}
		r.RequestURI = r.URL.RequestURI()
		f.h.ServeHTTP(w, r)
		if w.Code != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if matches, _ := filepath.Glob(out + "*"); matches != nil {
		t.Errorf("made %q", matches)
	}
}

func TestBackupsThatCannotBeMadeAreProblemsThatSayWhy(t *testing.T) {
	f := newDiskFixture(t, true)
	dir := t.TempDir()
	for _, tc := range []struct {
		method, query, detail string
		code                  document.Code
	}{
		{http.MethodGet, "?path=/tmp/x", "POST", document.CodeMethodNotAllowed},
		{http.MethodPost, "", "absolute path", document.CodeInvalidRequest},
		{http.MethodPost, "?path=x", "absolute path", document.CodeInvalidRequest},
		{http.MethodPost, "?path=/tmp/../x", "absolute path", document.CodeInvalidRequest},
		{http.MethodPost, "?path=/", "absolute path", document.CodeInvalidRequest},
		{http.MethodPost, "?out=/tmp/x", "not known here", document.CodeInvalidRequest},
		{http.MethodPost, "?path=" + url.QueryEscape(f.db.Path()), "storage directory itself", document.CodeInvalidRequest},
		{http.MethodPost, "?path=" + url.QueryEscape(filepath.Dir(dir)), "is not empty", document.CodeInvalidRequest},
		{http.MethodPost, "?path=" + url.QueryEscape(dir+"/a/b"), "does not exist", document.CodeInvalidRequest},
		{http.MethodPost, "?path=" + url.QueryEscape("/proc/x"), "no backup was made", document.CodeDatabase},
	} {
		w := askBackup(f.api.Local(), tc.method, tc.query)
		p := new(document.Problem)
		if err := json.Unmarshal(w.Body.Bytes(), p); err != nil || p.Code != tc.code || !strings.Contains(p.Detail, tc.detail) || w.Code != tc.code.Status() {
			t.Errorf("%s %s: %d %s %v", tc.method, tc.query, w.Code, w.Body, err)
		}
	}
	empty := newDiskFixture(t, false)
	if w := askBackup(empty.api.Local(), http.MethodPost, "?path="+url.QueryEscape(dir+"/c")); w.Code != http.StatusServiceUnavailable {
		t.Errorf("before the first sync: %d %s", w.Code, w.Body)
	}
}
