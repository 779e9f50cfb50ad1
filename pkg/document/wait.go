package document

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// MaxWait is how long an answer is held back at most, see PreferWait.
const MaxWait = 2 * time.Second

// PreferWait is the value of a header Prefer (RFC 7240): the answer may come that much
// later, in whole milliseconds, if it is another one then. RFC 7240 counts in seconds, so it is a preference of
// our own, and whoever does not know it answers at once.
func PreferWait(d time.Duration) string { return fmt.Sprintf("wait-ms=%d", d.Milliseconds()) }

// WaitOf reads the value of a header Prefer; 0: the answer is wanted at once. No more than MaxWait
// comes back.
func WaitOf(prefer string) time.Duration {
	for part := range strings.SplitSeq(prefer, ",") {
		text, ok := strings.CutPrefix(strings.TrimSpace(part), "wait-ms=")
		if !ok {
			continue
		}
		if ms, err := strconv.ParseUint(text, 10, 32); err == nil {
			return min(MaxWait, time.Duration(ms)*time.Millisecond)
		}
	}
	return 0
}
