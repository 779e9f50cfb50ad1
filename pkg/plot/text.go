package plot

import (
	"math"
	"strconv"
	"strings"
)

// secondsText writes a duration given in seconds with the digits that matter.
func secondsText(v float64) string {
	switch {
	case v < 1e-3:
		return digits(v*1e6) + " µs"
	case v < 1:
		return digits(v*1e3) + " ms"
	}
	return digits(v) + " s"
}

// bytesText writes a number of bytes in decimal units.
func bytesText(v float64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	i := 0
	for ; v >= 999.5 && i < len(units)-1; i++ {
		v /= 1000
	}
	return digits(v) + " " + units[i]
}

// opsText writes a number of operations: 10k, 1M.
func opsText(v float64) string {
	units := []string{"", "k", "M", "G"}
	i := 0
	for ; v >= 999.5 && i < len(units)-1; i++ {
		v /= 1000
	}
	return digits(v) + units[i]
}

// digits writes three significant digits, without zeros at the end.
func digits(v float64) string {
	if v >= 100 {
		return strconv.FormatFloat(math.Round(v), 'f', -1, 64)
	}
	p := 2
	if v >= 10 {
		p = 1
	}
	s := strconv.FormatFloat(v, 'f', p, 64)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// grouped writes an integer with commas between thousands.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
