package config

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Port is a TCP port; 0 lets the system pick one.
type Port uint16

// UnmarshalText implements value.
func (p *Port) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 10, 16)
	if err != nil {
		return errNotAccepted
	}
	*p = Port(n)
	return nil
}

func (p *Port) String() string { return strconv.Itoa(int(*p)) }

// Accepts implements value.
func (p *Port) Accepts() string { return "a port from 0 to 65535" }

// OptionalPort is a TCP port, 0 to let the system pick one, or off.
type OptionalPort struct {
	Port Port
	Off  bool
}

const portOff = "off"

// UnmarshalText implements value.
func (p *OptionalPort) UnmarshalText(text []byte) error {
	if string(text) == portOff {
		*p = OptionalPort{Off: true}
		return nil
	}
	p.Off = false
	return p.Port.UnmarshalText(text)
}

func (p *OptionalPort) String() string {
	if p.Off {
		return portOff
	}
	return p.Port.String()
}

// Accepts implements value.
func (p *OptionalPort) Accepts() string { return p.Port.Accepts() + ", or " + portOff }

// Count is a number of things.
type Count uint64

// UnmarshalText implements value. Numbers end at 2^62 so that they fit int64 and every location.
func (c *Count) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil || n > 1<<62 {
		return errNotAccepted
	}
	*c = Count(n)
	return nil
}

func (c *Count) String() string { return strconv.FormatUint(uint64(*c), 10) }

// Accepts implements value.
func (c *Count) Accepts() string { return "a whole number" }

func (c *Count) number() float64 { return float64(*c) }

// Size is a number of bytes.
type Size int64

var sizeUnits = []struct {
	suffix string
	bytes  int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1}}

// UnmarshalText implements value: a whole number of bytes, KiB, MiB, GiB or TiB.
func (s *Size) UnmarshalText(text []byte) error {
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(string(text), u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 63)
		if err != nil || int64(n) > math.MaxInt64/u.bytes {
			return errNotAccepted
		}
		*s = Size(int64(n) * u.bytes)
		return nil
	}
	return errNotAccepted
}

func (s *Size) String() string {
	for _, u := range sizeUnits {
		if *s != 0 && int64(*s)%u.bytes == 0 {
			return strconv.FormatInt(int64(*s)/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(*s), 10)
}

// Accepts implements value.
func (s *Size) Accepts() string { return "bytes such as 1048576, 64KiB, 32MiB or 1GiB" }

func (s *Size) number() float64 { return float64(*s) }

// FreeBytes is a number of bytes that has to stay free, or auto.
type FreeBytes struct {
	Auto bool
	Size Size // if not Auto
}

const freeAuto = "auto"

// UnmarshalText implements value.
func (f *FreeBytes) UnmarshalText(text []byte) error {
	if string(text) == freeAuto {
		*f = FreeBytes{Auto: true}
		return nil
	}
	f.Auto = false
	return f.Size.UnmarshalText(text)
}

func (f *FreeBytes) String() string {
	if f.Auto {
		return freeAuto
	}
	return f.Size.String()
}

// Accepts implements value.
func (f *FreeBytes) Accepts() string { return freeAuto + ", or " + f.Size.Accepts() }

// Duration is a span of time, never negative.
type Duration time.Duration

// UnmarshalText implements value.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return errNotAccepted
	}
	*d = Duration(v)
	return nil
}

func (d *Duration) String() string { return time.Duration(*d).String() }

// Accepts implements value.
func (d *Duration) Accepts() string { return "a duration in ms, s, m or h such as 100ms or 1m30s" }

// D converts to the standard library's type.
func (d Duration) D() time.Duration { return time.Duration(d) }

func (d *Duration) number() float64 { return float64(*d) }

// Bool is a switch.
type Bool bool

// UnmarshalText implements value.
func (b *Bool) UnmarshalText(text []byte) error {
	v, err := strconv.ParseBool(string(text))
	if err != nil {
		return errNotAccepted
	}
	*b = Bool(v)
	return nil
}

func (b *Bool) String() string { return strconv.FormatBool(bool(*b)) }

// Accepts implements value.
func (b *Bool) Accepts() string { return "true|false" }

// Seed is the seed of generated operations. The zero Seed means: choose one.
type Seed struct {
	set bool
	n   uint64
}

// Get returns the seed and whether one was given.
func (s Seed) Get() (uint64, bool) { return s.n, s.set }

// UnmarshalText implements value.
func (s *Seed) UnmarshalText(text []byte) error {
	if string(text) == "random" {
		*s = Seed{}
		return nil
	}
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return errNotAccepted
	}
	*s = Seed{set: true, n: n}
	return nil
}

func (s *Seed) String() string {
	if !s.set {
		return "random"
	}
	return strconv.FormatUint(s.n, 10)
}

// Accepts implements value.
func (s *Seed) Accepts() string { return "random or a number from 0 to 18446744073709551615" }
