package importer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// numbered are n lines whose values have the lengths that size says, and their records.
func numbered(n int, size func(i int) int) (string, []string) {
	var b strings.Builder
	var want []string
	for i := range n {
		if i%50 == 7 {
			b.WriteString("  \r\n")
		}
		value := strings.Repeat(string(rune('a'+i%26)), size(i))
		fmt.Fprintf(&b, `{"key":"%d","value":"%s"}`+"\n", i, value)
		want = append(want, fmt.Sprint(i, " ", value))
	}
	return b.String(), want
}

func TestRecordsComeInOrderWhateverTheirLength(t *testing.T) {
	short := func(i int) int { return i % 300 }
	long := func(i int) int {
		if i%40 == 3 {
			return chunkBytes * (1 + i%3)
		}
		return i % 30
	}
	for name, c := range map[string]struct {
		n    int
		size func(i int) int
	}{"short": {20_000, short}, "long": {300, long}, "one": {1, short}, "none": {0, short}} {
		text, want := numbered(c.n, c.size)
		for how, r := range map[string]io.Reader{
			"whole": strings.NewReader(text), "in parts": iotest.HalfReader(strings.NewReader(text)),
			"with its end": iotest.DataErrReader(strings.NewReader(text)), "without the last line's end": strings.NewReader(strings.TrimSuffix(text, "\n")),
		} {
			var got []string
			line := int64(0)
			err := readJSONL("x", r, func(r *record) error {
				if r.line <= line {
					t.Fatalf("line %d after %d", r.line, line)
				}
				line = r.line
				got = append(got, string(r.key.bytes)+" "+string(r.value.bytes))
				return nil
			})
			if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("%s, %s: %d records of %d, %v", name, how, len(got), len(want), err)
			}
			if lines := int64(strings.Count(strings.TrimSuffix(text, "\n"), "\n") + 1); c.n > 0 && line != lines {
				t.Errorf("%s, %s: the last record is in line %d of %d", name, how, line, lines)
			}
		}
	}
}

func TestWhatIsBeforeABrokenLineIsHandedOverAndNothingBehind(t *testing.T) {
	text, want := numbered(30_000, func(int) int { return 50 })
	lines := strings.SplitAfter(text, "\n")
	at := len(lines) / 2
	before := strings.Count(strings.Join(lines[:at], ""), "{")
	broken := errors.New("no more ink")
	for name, c := range map[string]struct {
		r    io.Reader
		want string
	}{
		"broken line": {strings.NewReader(strings.Join(lines[:at], "") + "{]\n" + strings.Join(lines[at:], "")), fmt.Sprintf("x:%d: ", at+1)},
		"half a line": {io.MultiReader(strings.NewReader(strings.Join(lines[:at], "")+`{"key":"`), iotest.ErrReader(broken)), fmt.Sprintf("x:%d: no more ink", at+1)},
		"no line":     {io.MultiReader(strings.NewReader(strings.Join(lines[:at], "")), iotest.ErrReader(broken)), fmt.Sprintf("x:%d: no more ink", at)},
	} {
		n := 0
		err := readJSONL("x", c.r, func(r *record) error {
			if got := string(r.key.bytes) + " " + string(r.value.bytes); got != want[n] {
				t.Fatalf("%s: record %d is %q", name, n, got)
			}
			n++
			return nil
		})
		var input *InputError
		if !errors.As(err, &input) || !strings.HasPrefix(err.Error(), c.want) || n != before {
			t.Errorf("%s: %v after %d records; %q after %d expected", name, err, n, c.want, before)
		}
	}
}

func TestReadingEndsWithWhoeverReads(t *testing.T) {
	text, _ := numbered(50_000, func(int) int { return 50 })
	enough := errors.New("enough")
	for _, most := range []int{0, 1, 10_000} {
		n := 0
		r := strings.NewReader(text)
		if err := readJSONL("x", r, func(*record) error {
			if n++; n > most {
				return enough
			}
			return nil
		}); !errors.Is(err, enough) || n != most+1 {
			t.Errorf("%v after %d records", err, n)
		}
		if ahead := len(text) - r.Len() - bytes.IndexByte([]byte(text), '\n')*n; most < 2 && ahead > 16*chunkBytes {
			t.Errorf("%d bytes were read for %d records", ahead, n)
		}
	}
}
