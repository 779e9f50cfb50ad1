package syncer_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/certs"
	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/serve"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/source/sourcetest"
	"github.com/proofsync/proofsync/pkg/syncer"
)

// mutualTLS are the two ends of connections on which both sides show certificates.
func mutualTLS(tb testing.TB) (server, client *tls.Config) {
	tb.Helper()
	dir := tb.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			tb.Fatal(err)
		}
		return path
	}
	ca, err := certs.NewAuthority("test", time.Hour)
	if err != nil {
		tb.Fatal(err)
	}
	cert, key, err := ca.Issue(certs.Leaf{Hosts: []string{"127.0.0.1"}})
	if err != nil {
		tb.Fatal(err)
	}
	s, err := certs.Load(certs.Options{
		CertFile: write("cert.pem", cert), KeyFile: write("key.pem", key), CAFile: write("ca.pem", ca.CertPEM()), ClientAuth: certs.Require,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return s.ServerConfig(certs.ProtoSync), s.ClientConfig("127.0.0.1", certs.ProtoSync)
}

// BenchmarkTLS is the cold sync of BenchmarkSync with TLS and without, in turns so
// that both meet the same machine. What TLS leaves of the throughput is reported
// as a share; it has to stay above 0.75.
func BenchmarkTLS(b *testing.B) {
	const operations = 200_000
	db := sourcetest.Writer(b, anyFixed)
	sourcetest.Commit(b, db, 1, 10, operations/10)
	server, client := mutualTLS(b)
	plainAddr := startServer(b, db, serve.Options{})
	secureAddr := startServer(b, db, serve.Options{TLS: server})
	cold := func(b *testing.B, addr string, secure *tls.Config, batch int) time.Duration {
		replica, err := database.Open(b.TempDir(), database.Options{Codec: anyFixed})
		if err != nil {
			b.Fatal(err)
		}
		defer replica.Close()
		pool := source.NewPool([]source.Source{source.NewPeer(addr, source.PeerOptions{
			Codec: anyFixed, TLS: func(string) *tls.Config { return secure },
		})}, source.PoolOptions{})
		defer pool.Close()
		r, err := syncer.New(replica, pool, syncer.Options{BatchSize: batch}).Sync(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		if r.Fetched < operations {
			b.Fatalf("%d operations fetched", r.Fetched)
		}
		return r.Duration
	}
	for _, batch := range []int{50, 10_000} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			var plain, secure time.Duration
			n := 0
			for b.Loop() {
				plain += cold(b, plainAddr, nil, batch)
				secure += cold(b, secureAddr, client, batch)
				n++
			}
			rate := func(d time.Duration) float64 { return float64(n*operations) / d.Seconds() }
			b.ReportMetric(rate(plain), "plain-ops/s")
			b.ReportMetric(rate(secure), "tls-ops/s")
			b.ReportMetric(plain.Seconds()/secure.Seconds(), "tls/plain")
			b.ReportMetric(0, "ns/op")
		})
	}
}
