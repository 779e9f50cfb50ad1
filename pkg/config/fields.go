package config

import (
	"encoding"
	"fmt"
	"reflect"
)

// value is what every field of a configuration struct implements (through its
// pointer). Having no field of a built-in type makes both environment readers
// and the flags parse alike: integers have one syntax, not three.
type value interface {
	encoding.TextUnmarshaler
	fmt.Stringer
	// Accepts names the accepted values, to follow "want " in errors.
	Accepts() string
}

// field is one setting: its tags and the place its value lives in.
type field struct {
	goName        string
	env           string // with the prefix
	flag, short   string
	def, min, max string
	value         value
}

// fields lists the settings of a *Server or *Client, the shared ones first.
// It panics on a struct it cannot read, which the package's tests would show.
func fields(cfg any) []field {
	var out []field
	var walk func(reflect.Value)
	walk = func(v reflect.Value) {
		t := v.Type()
		for i := range t.NumField() {
			sf := t.Field(i)
			if sf.Anonymous {
				walk(v.Field(i))
				continue
			}
			out = append(out, field{
				goName: sf.Name,
				env:    Prefix + "_" + sf.Tag.Get("env"),
				flag:   sf.Tag.Get("flag"),
				short:  sf.Tag.Get("short"),
				def:    sf.Tag.Get("default"),
				min:    sf.Tag.Get("min"),
				max:    sf.Tag.Get("max"),
				value:  v.Field(i).Addr().Interface().(value),
			})
		}
	}
	walk(reflect.ValueOf(cfg).Elem())
	return out
}

// name is how errors speak of a setting.
func (f field) name() string { return fmt.Sprintf("--%s (%s)", f.flag, f.env) }

// nameOf is the name of the setting with that flag.
func nameOf(cfg any, flag string) string {
	for _, f := range fields(cfg) {
		if f.flag == flag {
			return f.name()
		}
	}
	return "--" + flag
}

// accepts describes the accepted values with the bounds.
func (f field) accepts() string {
	s := f.value.Accepts()
	switch {
	case f.min != "" && f.max != "":
		return s + ", from " + f.min + " to " + f.max
	case f.min != "":
		return s + ", at least " + f.min
	case f.max != "":
		return s + ", at most " + f.max
	}
	return s
}

// numeric is implemented by the values that can have bounds.
type numeric interface{ number() float64 }

// checkBounds compares each field with its min and max tags.
func checkBounds(cfg any) error {
	for _, f := range fields(cfg) {
		if f.min == "" && f.max == "" {
			continue
		}
		n := f.value.(numeric).number()
		if f.min != "" && n < f.bound(f.min) || f.max != "" && n > f.bound(f.max) {
			return &UsageError{Name: f.name(), Value: f.value.String(), Reason: "want " + f.accepts()}
		}
	}
	return nil
}

// bound reads a bound in the syntax of the field's own type.
func (f field) bound(text string) float64 {
	v := reflect.New(reflect.TypeOf(f.value).Elem()).Interface().(value)
	if err := v.UnmarshalText([]byte(text)); err != nil {
		panic(fmt.Sprintf("config: bound %q of %s: %v", text, f.goName, err))
	}
	return v.(numeric).number()
}
