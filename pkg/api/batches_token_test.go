package api

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// lookAgain lets the next check look at the file.
func (f *TokenFile) lookAgain() {
	f.mu.Lock()
	f.looked = time.Time{}
	f.mu.Unlock()
}

func TestATokenFileIsReadAgainWhenItChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	write(t, path, "  first-token-of-all\n")
	log := new(lines)
	f, err := OpenTokenFile(path, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	check := func(token string, want bool) {
		t.Helper()
		if f.Check(token) != want {
			t.Errorf("%q is the token: %v", token, !want)
		}
	}
	check("first-token-of-all", true)
	for _, wrong := range []string{"", "first-token-of-al", " first-token-of-all", "First token of all"} {
		check(wrong, false)
	}
	write(t, path, "second-token-of-all\n")
	f.lookAgain()
	check("first-token-of-all", false)
	check("second-token-of-all", true)

	// What is no token leaves the old one, and is said once.
	for _, bad := range []string{"", " \n", "short", "sixteen chars with spaces", strings.Repeat("x", MaxToken+1)} {
		write(t, path, bad)
		for range 2 {
			f.lookAgain()
			check("second-token-of-all", true)
			check(bad, false)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f.lookAgain()
	check("second-token-of-all", true)
	if n := strings.Count(log.String(), "the old token stays"); n != 1 {
		t.Errorf("logged %d times: %s", n, log)
	}
	write(t, path, "third-token-of-all")
	f.lookAgain()
	check("third-token-of-all", true)
	check("second-token-of-all", false)
	if strings.Contains(log.String(), "third-token") {
		t.Error("a token is in the log")
	}
}

func TestATokenBehindALinkThatIsSwappedIsNoticed(t *testing.T) {
	dir := t.TempDir()
	at := time.Now().Add(-time.Hour)
	for _, v := range []string{"v1", "v2"} { // same size, same time: only the file is another
		if err := os.Mkdir(filepath.Join(dir, v), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, v, "token"), "a-token-of-version-"+v)
		if err := os.Chtimes(filepath.Join(dir, v, "token"), at, at); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(dir, "data")
	link := func(to string) {
		t.Helper()
		tmp := filepath.Join(dir, "tmp")
		if err := os.Symlink(to, tmp); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, data); err != nil {
			t.Fatal(err)
		}
	}
	link("v1")
	f, err := OpenTokenFile(filepath.Join(data, "token"), nil)
	if err != nil {
		t.Fatal(err)
	}
	link("v2")
	if !f.Check("a-token-of-version-v1") {
		t.Error("the file was looked at within a second")
	}
	f.lookAgain()
	if f.Check("a-token-of-version-v1") || !f.Check("a-token-of-version-v2") {
		t.Error("the old version is still the token")
	}
}

func TestAProcessDoesNotStartWithoutItsToken(t *testing.T) {
	dir := t.TempDir()
	for _, bad := range []string{"", "short", "fifteen letters"} {
		path := filepath.Join(dir, "token")
		write(t, path, bad)
		if _, err := OpenTokenFile(path, nil); err == nil {
			t.Errorf("%q is a token", bad)
		}
	}
	if _, err := OpenTokenFile(filepath.Join(dir, "none"), nil); err == nil {
		t.Error("there is no file")
	}
	if _, err := OpenTokenFile(dir, nil); err == nil {
		t.Error("a directory is a token")
	}
}
