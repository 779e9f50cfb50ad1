package hostile

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/certs"
)

// newPapers makes a folder with a certificate for server and honest client,
// and the CA that vouches for it.
func newPapers(t *testing.T) string {
	t.Helper()
	ca, err := certs.NewAuthority("test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.Issue(certs.Leaf{Name: "honest", Hosts: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{"cert.pem": cert, "key.pem": key, "ca.pem": ca.CertPEM()} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func loadPapers(dir string) (*certs.Store, error) {
	return certs.Load(certs.Options{
		CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem"),
		CAFile: filepath.Join(dir, "ca.pem"), ClientAuth: certs.Require,
	})
}
