package document

import (
	"testing"
	"time"
)

func TestHowLongToWaitIsRead(t *testing.T) {
	for text, want := range map[string]time.Duration{
		PreferWait(250 * time.Millisecond): 250 * time.Millisecond,
		PreferWait(time.Hour):              MaxWait,
		"respond-async,wait-ms=7":          7 * time.Millisecond,
		"":                                 0,
		"wait=10":                          0,
		"wait-ms=-1":                       0,
		"wait-ms=1e3":                      0,
		"wait-ms=99999999999999999999":     0,
	} {
		if got := WaitOf(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
