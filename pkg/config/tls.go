package config

import (
	"slices"
	"strings"

	"github.com/proofsync/proofsync/pkg/certs"
)

// What clients are asked for, see ClientAuth.
const (
	ClientAuthNone    ClientAuth = "none"
	ClientAuthRequest ClientAuth = "request"
	ClientAuthRequire ClientAuth = "require"
)

// ClientAuth says whether those who connect have to show a certificate.
type ClientAuth string

// UnmarshalText implements value.
func (a *ClientAuth) UnmarshalText(text []byte) error { return oneOf(a, text, a.Accepts()) }

func (a *ClientAuth) String() string { return string(*a) }

// Accepts implements value.
func (a *ClientAuth) Accepts() string {
	return string(ClientAuthNone + "|" + ClientAuthRequest + "|" + ClientAuthRequire)
}

// OptionalHost is a name or address, or nothing.
type OptionalHost string

// UnmarshalText implements value.
func (h *OptionalHost) UnmarshalText(text []byte) error {
	var host Host
	if len(text) > 0 {
		if err := host.UnmarshalText(text); err != nil {
			return err
		}
	}
	*h = OptionalHost(host)
	return nil
}

func (h *OptionalHost) String() string { return string(*h) }

// Accepts implements value.
func (h *OptionalHost) Accepts() string { return "a host name or IP address" }

// Identities is an allow list.
type Identities []certs.Pattern

func (l *Identities) reset() { *l = nil }

// UnmarshalText implements value: entries separated by commas.
func (l *Identities) UnmarshalText(text []byte) error {
	l.reset()
	if len(text) == 0 {
		return nil
	}
	return l.appendText(string(text))
}

// appendText adds one entry or several separated by commas.
func (l *Identities) appendText(text string) error {
	for one := range strings.SplitSeq(text, ",") {
		p, err := certs.ParsePattern(strings.TrimSpace(one))
		if err != nil {
			return errNotAccepted
		}
		if !slices.Contains(*l, p) {
			*l = append(*l, p)
		}
	}
	return nil
}

func (l *Identities) String() string {
	var all []string
	for _, p := range *l {
		all = append(all, string(p))
	}
	return strings.Join(all, ",")
}

// Accepts implements value.
func (l *Identities) Accepts() string {
	return "SPIFFE IDs (spiffe://domain/path, or spiffe://domain/* for all below) and DNS names (*.domain for one label more), separated by commas"
}

// check finds settings that would mean less than whoever wrote them thinks.
// cfg is the whole configuration.
func (t *TLS) check(cfg any) error {
	bad := func(flag, value, reason string) error {
		return &UsageError{Name: nameOf(cfg, flag), Value: value, Reason: reason}
	}
	switch {
	case t.CertFile != "" && t.KeyFile == "":
		return bad("tls-cert-file", string(t.CertFile), "needs --tls-key-file")
	case t.CertFile == "" && t.KeyFile != "":
		return bad("tls-key-file", string(t.KeyFile), "needs --tls-cert-file")
	case t.ClientAuth == ClientAuthNone:
		return nil
	case t.CertFile == "":
		return bad("tls-client-auth", string(t.ClientAuth), "needs --tls-cert-file and --tls-key-file")
	case t.CAFile == "":
		return bad("tls-client-auth", string(t.ClientAuth), "needs --tls-ca-file, which the certificates of clients are verified with")
	}
	return nil
}
