package main

import (
	"encoding/base64"
	"encoding/hex"

	"github.com/spf13/cobra"
)

// text is a key or a value as it was given: text, or bytes in another form.
type text struct {
	bytes []byte
	raw   bool // given as bytes, which the encoding fixed stores as they are if there are 32 of them
}

// notation are a pair of flags that say how something is written.
type notation struct {
	what         string // what the flags are about: KEY, VALUE
	hexName      string
	base64Name   string
	isHex, isB64 bool
}

func (n *notation) register(cmd *cobra.Command, prefix, what string) {
	n.what, n.hexName, n.base64Name = what, prefix+"hex", prefix+"base64"
	cmd.Flags().BoolVar(&n.isHex, n.hexName, false, what+" is bytes in hexadecimal")
	cmd.Flags().BoolVar(&n.isB64, n.base64Name, false, what+" is bytes in base64")
}

// parse reads what was given for name.
func (n *notation) parse(name, s string) (text, error) {
	switch {
	case n.isHex && n.isB64:
		return text{}, usagef("--%s and --%s exclude each other", n.hexName, n.base64Name)
	case n.isHex:
		b, err := hex.DecodeString(s)
		if err != nil {
			return text{}, usagef("%s %.80q: hexadecimal digits expected", name, s)
		}
		return text{b, true}, nil
	case n.isB64:
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawURLEncoding} {
			if b, err := e.Strict().DecodeString(s); err == nil {
				return text{b, true}, nil
			}
		}
		return text{}, usagef("%s %.80q: base64 (standard alphabet and padded, or base64url) expected", name, s)
	}
	return text{[]byte(s), false}, nil
}
