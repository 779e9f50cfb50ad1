package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/fx"

	"github.com/proofsync/proofsync/internal/outbound"
	"github.com/proofsync/proofsync/pkg/certs"
	"github.com/proofsync/proofsync/pkg/config"
	"github.com/proofsync/proofsync/pkg/telemetry"
)

// security holds certificates, keys and CAs from the start on, so that what is
// wrong with them is known before any port is taken, and keeps them up to date.
type security struct{ *certs.Store }

// plaintext is what a process does without TLS.
type plaintext struct {
	with  []string // whom it talks to like that
	local bool     // all of them are on this machine
}

// securityOptions are what either process makes of its settings.
type securityOptions struct {
	certs.Options
	open plaintext
}

func newSecurity(lc fx.Lifecycle, o securityOptions, reg prometheus.Registerer, e exits, _ *telemetry.Server) *security {
	s := new(security)
	o.Logger, o.Metrics = e.Log, certs.NewMetrics(reg)
	var watch tasks
	lc.Append(fx.Hook{
		OnStart: func(context.Context) (err error) {
			if s.Store, err = certs.Load(o.Options); err != nil {
				return fmt.Errorf("TLS: %w", err)
			}
			o.open.announce(e.Log)
			watch.start("certificates", s.Run, e.failed)
			return nil
		},
		OnStop: watch.stop,
	})
	return s
}

// httpClient is for https addresses: their servers are verified by our CAs, and
// are shown our certificate. It is nil without CAs; the system's count then.
func (s *security) httpClient() *http.Client {
	if s.ClientConfig("") == nil {
		return nil
	}
	return outbound.NewClient(func(ctx context.Context, network, addr string) (net.Conn, error) {
		d := tls.Dialer{Config: s.ClientConfig(hostOf(addr))}
		return d.DialContext(ctx, network, addr)
	})
}

// tlsOptions are those of either process.
func tlsOptions(c *config.TLS) securityOptions {
	return securityOptions{Options: certs.Options{
		CertFile: string(c.CertFile), KeyFile: string(c.KeyFile), CAFile: string(c.CAFile),
		ClientAuth: map[config.ClientAuth]certs.ClientAuth{
			config.ClientAuthRequest: certs.Request, config.ClientAuthRequire: certs.Require,
		}[c.ClientAuth],
	}}
}

func serverTLS(c *config.Server) securityOptions {
	o := tlsOptions(&c.TLS)
	o.AllowClients = c.Allow
	if o.CertFile == "" {
		o.open = plaintext{with: []string{"clients"}, local: loopback(string(c.Host))}
	}
	return o
}

func clientTLS(c *config.Client) securityOptions {
	o := tlsOptions(&c.TLS)
	open := &o.open
	o.AllowServers = c.Allow
	o.ServerName = string(c.ServerName)
	open.local = true
	if o.CAFile == "" {
		open.with = append(open.with, "servers")
		for _, addr := range c.Servers {
			open.local = open.local && loopback(hostOf(addr))
		}
	}
	if o.CertFile == "" && !c.HTTPPort.Off {
		open.with = append(open.with, "the HTTP port")
		open.local = open.local && loopback(string(c.Host))
	}
	return o
}

// announce says once what is not encrypted. On one machine that is as it should be.
func (p plaintext) announce(log *slog.Logger) {
	if len(p.with) == 0 {
		return
	}
	level := slog.LevelWarn
	if p.local {
		level = slog.LevelInfo
	}
	log.Log(context.Background(), level, "connections are not encrypted", "with", strings.Join(p.with, ", "), "see", "--tls-cert-file, --tls-ca-file")
}

// hostOf is the host of a host:port.
func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}

func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
