package retention

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPoliciesReadAndWriteTheSameText(t *testing.T) {
	for in, want := range map[string]string{
		"all": "all", "1": "1", "5000000": "5000000", "1s": "1s", "90m": "1h30m0s", "30d": "720h0m0s", "65535d": "1572840h0m0s",
	} {
		p, err := ParsePolicy(in)
		if err != nil || p.String() != want {
			t.Errorf("%q: %q %v, want %q", in, p, err, want)
		}
		if q, err := ParsePolicy(p.String()); err != nil || q != p {
			t.Errorf("%q read back: %v %v", p, q, err)
		}
	}
	for _, in := range []string{"", "ALL", "0", "-1", "1.5", "10ms", "0s", "-5m", "d", "65536d", "9223372036854775808", "1 h"} {
		if p, err := ParsePolicy(in); err == nil {
			t.Errorf("%q is %v", in, p)
		}
	}
}

func TestNothingGoesBeforeItsTime(t *testing.T) {
	start := func(policy string, floor uint64, m marks) uint64 {
		p, err := ParsePolicy(policy)
		if err != nil {
			t.Fatal(err)
		}
		return p.start(floor, &m, time.Unix(1000, 0))
	}
	m := marks{[]mark{{100, 10}, {900, 500}, {940, 700}, {941, 800}}}
	for _, c := range []struct {
		policy      string
		floor, want uint64
	}{
		{"all", 5000, 0},
		{"1000", 5000, 4000},
		{"1000", 1000, 0},
		{"1000", 999, 0},
		{"60s", 5000, 700}, // what is 60 seconds old now
		{"60s", 650, 650},  // but nothing from the floor on
		{"901s", 5000, 0},  // nothing is known to be that old
		{"899s", 5000, 10},
		{"1s", 5000, 800},
	} {
		if got := start(c.policy, c.floor, m); got != c.want {
			t.Errorf("%s, floor %d: start %d, want %d", c.policy, c.floor, got, c.want)
		}
	}
}

// A dumb second implementation knows the size of every second.
func TestMarksNeverSayThatSomethingIsOlderThanItIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		age := time.Duration(rapid.Int64Range(1, 5000).Draw(t, "age")) * time.Second
		var m marks
		type second struct {
			unix int64
			size uint64
		}
		var past []second
		now, size := int64(1_700_000_000), uint64(1)
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			now += rapid.Int64Range(0, 60).Draw(t, "seconds")
			size += uint64(rapid.IntRange(0, 9).Draw(t, "operations"))
			past = append(past, second{now, size})
			m.add(time.Unix(now, 0), size, age)
			if len(m.list) > marksPerAge+10 {
				t.Fatalf("%d marks", len(m.list))
			}
			again, err := decodeMarks(m.encode())
			if err != nil {
				t.Fatal(err)
			}
			m = again
			cut := now - int64(age/time.Second)
			var exact, late uint64 // sizes at the cut, and a little and two looks before it
			slack := max(1, int64(age/time.Second)/marksPerAge) + 120
			for _, s := range past {
				if s.unix <= cut {
					exact = s.size
				}
				if s.unix <= cut-slack {
					late = s.size
				}
			}
			if got := m.sizeAt(time.Unix(cut, 0)); got > exact || got < late {
				t.Fatalf("size %d at the cut, it was %d, and %d a while before", got, exact, late)
			}
		}
	})
}

func TestAClockThatGoesBackKeepsThingsLonger(t *testing.T) {
	var m marks
	at := func(unix int64, size uint64) bool { return m.add(time.Unix(unix, 0), size, 100*time.Second) }
	at(1000, 10)
	at(1010, 20)
	if at(500, 30) || at(1009, 40) {
		t.Error("a mark of the past was added")
	}
	if got := m.sizeAt(time.Unix(1009, 0)); got != 10 {
		t.Errorf("size %d at 1009", got)
	}
	if !at(1020, 50) || m.sizeAt(time.Unix(1020, 0)) != 50 {
		t.Error("did not go on when the clock had caught up")
	}
	if at(1021, 50) {
		t.Error("a log that does not grow gets marks")
	}
	// A replica that began anew is shorter than its past.
	if !at(1030, 15) || m.sizeAt(time.Unix(1030, 0)) != 15 {
		t.Errorf("marks %v", m.list)
	}
}

func TestMarksAreBoundedWhateverThePolicyWas(t *testing.T) {
	var m marks
	for i := range int64(maxMarks) { // finer than the next policy divides
		m.list = append(m.list, mark{i, uint64(i)})
	}
	if !m.add(time.Unix(10_000, 0), 1000, 100*time.Hour) || len(m.list) > maxMarks || len(m.encode()) > 4096 {
		t.Fatalf("%d marks", len(m.list))
	}
	if m.sizeAt(time.Unix(9000, 0)) < 250 || m.sizeAt(time.Unix(10_000, 0)) != 1000 {
		t.Errorf("thinned to %v", m.list)
	}
	for _, bad := range [][]byte{make([]byte, 15), make([]byte, 4112), append(make([]byte, 15), append([]byte{1}, make([]byte, 16)...)...)} {
		if m, err := decodeMarks(bad); err == nil {
			t.Errorf("%d bytes: %v", len(bad), m)
		}
	}
}
