package config

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Path is the path of a file or directory; empty means none.
type Path string

// UnmarshalText implements value.
func (p *Path) UnmarshalText(text []byte) error { *p = Path(text); return nil }

func (p *Path) String() string { return string(*p) }

// Accepts implements value.
func (p *Path) Accepts() string { return "a path" }

// Paths is a list of paths.
type Paths []string

func (p *Paths) reset() { *p = nil }

// UnmarshalText implements value: paths separated by commas.
func (p *Paths) UnmarshalText(text []byte) error {
	p.reset()
	if len(text) == 0 {
		return nil
	}
	for one := range strings.SplitSeq(string(text), ",") {
		if err := p.appendText(one); err != nil {
			return err
		}
	}
	return nil
}

// appendText adds one path as it is: the flag is repeated, so that a path may contain a comma.
func (p *Paths) appendText(text string) error {
	if text == "" {
		return errNotAccepted
	}
	*p = append(*p, text)
	return nil
}

func (p *Paths) String() string { return strings.Join(*p, ",") }

// Accepts implements value.
func (p *Paths) Accepts() string { return "paths, none of them empty" }

// Host is the name or address a listener binds to.
type Host string

// UnmarshalText implements value. Brackets around an IPv6 address are taken off.
func (h *Host) UnmarshalText(text []byte) error {
	s := strings.TrimSuffix(strings.TrimPrefix(string(text), "["), "]")
	if !validHost(s) {
		return errNotAccepted
	}
	*h = Host(s)
	return nil
}

func (h *Host) String() string { return string(*h) }

// Accepts implements value.
func (h *Host) Accepts() string { return "a host name or IP address" }

// Join is the address of a port on this host.
func (h Host) Join(p Port) string { return net.JoinHostPort(string(h), strconv.Itoa(int(p))) }

// validHost accepts IP addresses (also with a zone) and DNS names; an underscore
// is common in the names container platforms give.
func validHost(s string) bool {
	ip, _, _ := strings.Cut(s, "%")
	if net.ParseIP(ip) != nil {
		return true
	}
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			switch {
			case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			default:
				return false
			}
		}
	}
	return true
}

// Addresses is a list of host:port, in the order given, without duplicates.
type Addresses []string

func (a *Addresses) reset() { *a = nil }

// UnmarshalText implements value: addresses separated by commas.
func (a *Addresses) UnmarshalText(text []byte) error {
	a.reset()
	return a.appendText(string(text))
}

// appendText adds one address or several separated by commas.
func (a *Addresses) appendText(text string) error {
	for one := range strings.SplitSeq(text, ",") {
		one = strings.TrimSpace(one)
		host, port, err := net.SplitHostPort(one)
		if err != nil || !validHost(host) {
			return errNotAccepted
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return errNotAccepted
		}
		if !slices.Contains(*a, one) {
			*a = append(*a, one)
		}
	}
	return nil
}

func (a *Addresses) String() string { return strings.Join(*a, ",") }

// Accepts implements value.
func (a *Addresses) Accepts() string { return "host:port, a port from 1 to 65535, separated by commas" }

// Origins is a list of web origins, or *.
type Origins []string

func (o *Origins) reset() { *o = nil }

// UnmarshalText implements value: origins separated by commas.
func (o *Origins) UnmarshalText(text []byte) error {
	o.reset()
	if len(text) == 0 {
		return nil
	}
	return o.appendText(string(text))
}

// appendText adds one origin or several separated by commas.
func (o *Origins) appendText(text string) error {
	for one := range strings.SplitSeq(text, ",") {
		one = strings.TrimSpace(one)
		if one != "*" {
			u, err := url.Parse(one)
			if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || one != u.Scheme+"://"+u.Host {
				return errNotAccepted
			}
		}
		if !slices.Contains(*o, one) {
			*o = append(*o, one)
		}
	}
	return nil
}

func (o *Origins) String() string { return strings.Join(*o, ",") }

// Accepts implements value.
func (o *Origins) Accepts() string { return "http(s)://host[:port] without a path, or *" }

// URLs is a list of addresses of HTTP servers.
type URLs []string

func (l *URLs) reset() { *l = nil }

// UnmarshalText implements value: addresses separated by commas.
func (l *URLs) UnmarshalText(text []byte) error {
	l.reset()
	if len(text) == 0 {
		return nil
	}
	return l.appendText(string(text))
}

// appendText adds one address or several separated by commas.
func (l *URLs) appendText(text string) error {
	for one := range strings.SplitSeq(text, ",") {
		one = strings.TrimRight(strings.TrimSpace(one), "/")
		u, err := url.Parse(one)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return errNotAccepted
		}
		if !slices.Contains(*l, one) {
			*l = append(*l, one)
		}
	}
	return nil
}

func (l *URLs) String() string { return strings.Join(*l, ",") }

// Accepts implements value.
func (l *URLs) Accepts() string { return "http(s)://host[:port], separated by commas" }
