package targets_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/proofsync/proofsync/pkg/checkpoint"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/source"
	"github.com/proofsync/proofsync/pkg/targets"
	"github.com/proofsync/proofsync/pkg/wire"
)

func TestAURLAndAFileAreReadAgainEachTime(t *testing.T) {
	k := newKey(t, "writer")
	trust := checkpoint.Trust{Keys: []checkpoint.Key{k.public}}
	web := newShelf(t, sign(t, at(5, 0), k))
	path := filepath.Join(t.TempDir(), "note")
	put := func(c checkpoint.Checkpoint) {
		t.Helper()
		note := sign(t, c, k)
		web.put(note)
		if err := os.WriteFile(path, note, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, place := range []string{web.URL + "/v1/checkpoint", path} {
		f := newFollower(t, trust, place)
		for _, end := range []uint64{7, 7, 9} {
			put(at(end, 0))
			f.want(t, at(end, 0))
		}
	}
	if web.unchanged.Load() != 1 {
		t.Errorf("of %d questions %d were answered as unchanged, want 1", web.asked.Load(), web.unchanged.Load())
	}
}

func TestAQuorumMayComeFromSeveralPlaces(t *testing.T) {
	a, b, c := newKey(t, "a"), newKey(t, "b"), newKey(t, "c")
	one, two := newShelf(t, sign(t, at(5, 0), a)), newShelf(t, sign(t, at(5, 0), b))
	trust := checkpoint.Trust{Keys: []checkpoint.Key{a.public, b.public, c.public}, Quorum: 2}
	f := newFollower(t, trust, one.URL, two.URL)
	f.want(t, at(5, 0))
	if st := f.Status(); len(st.Signers) != 2 || st.Stale || st.Quorum != 2 {
		t.Errorf("status %+v", st)
	}
	if note := f.Note(2); !bytes.Contains(note, []byte(" a ")) || !bytes.Contains(note, []byte(" b ")) || f.Note(3) != nil {
		t.Errorf("the note that is passed on is\n%s", note)
	}
	// Signatures under different texts do not count together.
	two.put(sign(t, at(6, 0), b))
	if e := refused[*checkpoint.QuorumError](t, f); e.Have != 1 {
		t.Error(e)
	}
	// A key that signs twice, here and there, is one.
	twice := sign(t, at(5, 0), a)
	twice = append(twice, twice[bytes.LastIndex(twice, []byte("\u2014")):]...)
	two.put(twice)
	refused[*checkpoint.QuorumError](t, f)
	one.put(twice)
	refused[*checkpoint.QuorumError](t, f)
	two.put(sign(t, at(6, 0), b, c))
	f.want(t, at(6, 0))
}

func TestAPlaceCannotKeepOutSignaturesOfOthers(t *testing.T) {
	a, b := newKey(t, "a"), newKey(t, "b")
	note := sign(t, at(5, 0), a)
	flood := bytes.Clone(note)
	for i := range 99 { // with one more there are too many
		junk := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{byte(i)}, 68))
		flood = fmt.Appendf(flood, "\u2014 junk%d %s\n", i, junk)
	}
	forged := bytes.Clone(note)
	forged = fmt.Appendf(forged, "\u2014 b %s\n", base64.StdEncoding.EncodeToString(append(hashOf(t, b), make([]byte, 64)...)))
	trust := checkpoint.Trust{Keys: []checkpoint.Key{a.public, b.public}, Quorum: 2}
	for name, bad := range map[string][]byte{"flood": flood, "forged": forged} {
		evil := newShelf(t, bad)
		f := newFollower(t, trust, evil.URL, newShelf(t, note).URL, newShelf(t, sign(t, at(5, 0), b)).URL)
		t.Log(name)
		f.want(t, at(5, 0))
	}
}

// hashOf is how a signature line names a key.
func hashOf(t *testing.T, k key) []byte {
	t.Helper()
	h := k.KeyHash()
	return []byte{byte(h >> 24), byte(h >> 16), byte(h >> 8), byte(h)}
}

func TestOfDifferentStatementsTheNewestIsFollowed(t *testing.T) {
	k := newKey(t, "writer")
	one, two := newShelf(t, sign(t, at(5, 0), k)), newShelf(t, sign(t, at(8, 0), k))
	f := newFollower(t, checkpoint.Trust{Keys: []checkpoint.Key{k.public}, MaxAge: time.Hour}, one.URL, two.URL)
	f.want(t, at(8, 0))
	declared := at(6, 1)
	declared.Epoch = 1
	one.put(sign(t, declared, k))
	f.want(t, declared)
	// The other place still has the epoch before: that is no contradiction.
	two.put(sign(t, at(6, 0), k))
	f.want(t, declared)
	// Of what is newer but cannot be followed only what can is.
	two.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	f.want(t, declared)
}

func TestBadNotesHaveOneClearLineEach(t *testing.T) {
	k, stranger := newKey(t, "writer"), newKey(t, "stranger")
	good := at(5, 0)
	note := sign(t, good, k)
	text, lines, _ := strings.Cut(string(note), "\n\n")
	root := base64.StdEncoding.EncodeToString(good.Target.Root[:])
	resigned := func(text string) []byte {
		note, err := checkpoint.Cosign([]byte(text+"\n\n"+lines), k)
		if err != nil {
			t.Fatal(err)
		}
		return note
	}
	other, future, old, immutable := good, good, good, good
	other.Origin = "example.org/other"
	future.Time = noon.Add(10 * time.Minute)
	old.Time = noon.Add(-2 * time.Hour)
	immutable.Codec = operation.NewCodec(operation.Immutable, operation.Fixed)
	tests := map[string]struct {
		note []byte
		line string
	}{
		"unknown key":           {sign(t, good, stranger), "not trusted: stranger"},
		"nobody's":              {[]byte(text + "\n\n"), "the form of a signed note"},
		"signature of another":  {[]byte(text + "\n\n" + "\u2014 writer " + base64.StdEncoding.EncodeToString(append(hashOf(t, k), make([]byte, 64)...)) + "\n"), "but not by the key"},
		"bad base64 of a line":  {[]byte(text + "\n\n\u2014 writer !!!\n"), "the form of a signed note"},
		"bad base64 of a root":  {resigned(strings.Replace(text, root, "!"+root[1:], 1)), "base64 expected"},
		"root of wrong length":  {resigned(strings.Replace(text, root, base64.StdEncoding.EncodeToString(make([]byte, 31)), 1)), "root of 31 bytes"},
		"size with sign":        {resigned(strings.Replace(text, "\n5\n", "\n+5\n", 1)), "a decimal number expected"},
		"other log":             {sign(t, other, k), `of the log "example.org/other"`},
		"other kind":            {sign(t, immutable, k), "immutable"},
		"clock of the writer":   {sign(t, future, k), "in the future: one of the clocks is wrong"},
		"stale":                 {sign(t, old, k), "stale: signed 2h0m0s ago, at most 1h0m0s expected"},
		"empty":                 {nil, "it is empty"},
		"longer than any":       {bytes.Repeat([]byte("x"), checkpoint.MaxNote+1), "more than 65536 bytes"},
		"a page, not a note":    {[]byte("<html>sign in</html>"), "the form of a signed note"},
		"text changed after it": {[]byte(strings.Replace(string(note), "\n5\n", "\n6\n", 1)), "but not by the key"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			web := newShelf(t, test.note)
			f := newFollower(t, checkpoint.Trust{Keys: []checkpoint.Key{k.public}, MaxAge: time.Hour}, web.URL)
			e := refused[*targets.Error](t, f)
			if msg := e.Error(); !strings.Contains(msg, test.line) || strings.Contains(msg, "\n") || len(msg) > 500 || !strings.HasPrefix(msg, web.URL) {
				t.Errorf("%q does not say %q of %s in one line", msg, test.line, web.URL)
			}
			if _, ok := f.Accepted(); ok || f.Note(1) != nil {
				t.Error("and yet it was accepted")
			}
			web.put(note)
			f.want(t, good)
		})
	}
}

func TestAPolicyThatTrustsAnybodyIsRefused(t *testing.T) {
	k := newKey(t, "writer")
	for name, trust := range map[string]checkpoint.Trust{
		"quorum of none":         {Origin: origin, Keys: []checkpoint.Key{k.public}, Quorum: -1},
		"quorum of nobody's":     {Origin: origin, Quorum: 1},
		"one key given twice":    {Origin: origin, Keys: []checkpoint.Key{k.public, k.public}, Quorum: 2},
		"the origin has a space": {Origin: "a b", Keys: []checkpoint.Key{k.public}, Quorum: 1},
	} {
		if name == "quorum of none" {
			trust.Quorum = 0
		}
		if _, err := targets.New(&pool{}, new(memory), targets.Options{Places: []string{"note"}, Trust: trust}); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	trust := checkpoint.Trust{Origin: origin, Keys: []checkpoint.Key{k.public}, Quorum: 1}
	for _, places := range [][]string{nil, {""}, {"ftp://a/b"}, {"http://"}, {"http://user@host/x"}} {
		if _, err := targets.New(&pool{}, new(memory), targets.Options{Places: places, Trust: trust}); err == nil {
			t.Errorf("places %q are accepted", places)
		}
	}
}

func TestAPlaceThatCannotBeReadEndsNothingAndSaysWhy(t *testing.T) {
	k := newKey(t, "writer")
	trust := checkpoint.Trust{Keys: []checkpoint.Key{k.public}}
	answers := func(status int, header ...string) string {
		web := newShelf(t, nil)
		web.answer(func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
		})
		return web.URL
	}
	good := newShelf(t, sign(t, at(5, 0), k))
	gone := newShelf(t, nil)
	gone.Close()
	for name, test := range map[string][2]string{
		"not there":   {answers(http.StatusNotFound), "there is no checkpoint (404)"},
		"redirect":    {answers(http.StatusFound, "Location", good.URL), "which is not followed"},
		"error":       {answers(http.StatusInternalServerError), "500"},
		"unasked 304": {answers(http.StatusNotModified), "304"},
		"no server":   {gone.URL, "refused"},
		"no file":     {filepath.Join(t.TempDir(), "none"), "no such file"},
		"directory":   {t.TempDir(), "is no file"},
	} {
		f := newFollower(t, trust, test[0])
		e := refused[*targets.Error](t, f)
		if !strings.Contains(e.Error(), test[1]) || strings.Count(e.Error(), test[0]) > 1 && name != "redirect" {
			t.Errorf("%s: %v", name, e)
		}
		if st := f.Status(); !st.Stale || st.Refusal == nil {
			t.Errorf("%s: status %+v", name, st)
		}
	}
}

func TestAPlaceThatHangsMakesOthersLateByAMomentOnly(t *testing.T) {
	k := newKey(t, "writer")
	hangs := newShelf(t, nil)
	hangs.answer(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	f := newFollower(t, checkpoint.Trust{Keys: []checkpoint.Key{k.public}}, hangs.URL, newShelf(t, sign(t, at(5, 0), k)).URL)
	f.o.Timeout = time.Minute
	f.restart(t)
	began := time.Now()
	f.want(t, at(5, 0))
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("it took %s", d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Target(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestNothingOlderThanWhatWasAcceptedIsFollowedAfterARestartEither(t *testing.T) {
	k := newKey(t, "writer")
	web := newShelf(t, sign(t, at(100, 0), k))
	f := newFollower(t, checkpoint.Trust{Keys: []checkpoint.Key{k.public}, MaxAge: time.Hour}, web.URL)
	f.want(t, at(100, 0))
	older := map[string]checkpoint.Checkpoint{"size": at(90, 0)}
	for range 2 {
		for name, c := range older {
			web.put(sign(t, c, k))
			if e := refused[*checkpoint.RollbackError](t, f); e.Last.Target != at(100, 0).Target {
				t.Errorf("%s: %v", name, e)
			}
		}
		f.restart(t)
		if a, ok := f.Accepted(); !ok || a.Target != at(100, 0).Target {
			t.Fatalf("remembers %+v", a)
		}
	}
	// Older and stale: that it is older says more.
	c := at(90, 0)
	c.Time = noon.Add(-2 * time.Hour)
	web.put(sign(t, c, k))
	refused[*checkpoint.RollbackError](t, f)
	// The start never goes back, nor does the epoch.
	c = at(110, 0)
	c.Epoch, c.Target.Start = 2, 50
	web.put(sign(t, c, k))
	f.want(t, c)
	f.restart(t)
	for _, change := range []func(*checkpoint.Checkpoint){
		func(c *checkpoint.Checkpoint) { c.Target.End++; c.Target.Start-- },
		func(c *checkpoint.Checkpoint) { c.Target.End++; c.Epoch-- },
	} {
		older := c
		change(&older)
		web.put(sign(t, older, k))
		refused[*checkpoint.RollbackError](t, f)
	}
}

func TestTwoSignedRootsOfOneSizeAreProofOfAFork(t *testing.T) {
	k := newKey(t, "writer")
	one, two := newShelf(t, sign(t, at(5, 0), k)), newShelf(t, sign(t, at(5, 0), k))
	f := newFollower(t, checkpoint.Trust{Keys: []checkpoint.Key{k.public}, MaxAge: time.Hour}, one.URL, two.URL)
	f.want(t, at(5, 0))
	// Against what was accepted, also by one who is stale.
	c := at(5, 1)
	c.Time = noon.Add(-2 * time.Hour)
	for _, other := range []checkpoint.Checkpoint{at(5, 1), c} {
		two.put(sign(t, other, k))
		e := refused[*source.ContradictionError](t, f)
		for _, note := range [][]byte{e.Target.Note, e.Last.Note} {
			if _, err := checkpoint.Peek(note); err != nil {
				t.Errorf("evidence %q: %v", note, err)
			}
		}
		if e.Target.Root == e.Last.Root || e.Target.End != e.Last.End {
			t.Error(e)
		}
	}
	one.put(sign(t, at(5, 1), k))
	two.put(sign(t, at(5, 1), k))
	refused[*source.ContradictionError](t, f)
	// Against each other, with nothing accepted of that size.
	one.put(sign(t, at(9, 0), k))
	two.put(sign(t, at(9, 1), k))
	refused[*source.ContradictionError](t, f)
	f.restart(t)
	refused[*source.ContradictionError](t, f)
	two.put(sign(t, at(9, 0), k))
	f.want(t, at(9, 0))
}

func TestStaleIsAStateThatAFreshSignatureEnds(t *testing.T) {
	k := newKey(t, "writer")
	web := newShelf(t, sign(t, at(5, 0), k))
	f := newFollower(t, checkpoint.Trust{Keys: []checkpoint.Key{k.public}, MaxAge: time.Hour}, web.URL)
	f.want(t, at(5, 0))
	f.now = noon.Add(59 * time.Minute)
	if st := f.Status(); st.Stale || st.Age != 59*time.Minute {
		t.Errorf("status %+v", st)
	}
	f.now = noon.Add(61 * time.Minute)
	refused[*checkpoint.StaleError](t, f)
	if st := f.Status(); !st.Stale || st.Refusal == nil || st.Size != 5 {
		t.Errorf("status %+v", st)
	}
	if f.Note(1) == nil {
		t.Error("the note of what is served is gone")
	}
	again := at(5, 0)
	again.Time = f.now.Add(4 * time.Minute) // clocks differ
	web.put(sign(t, again, k))
	kept := f.memory.kept
	f.want(t, again)
	if st := f.Status(); st.Stale || st.Refusal != nil || st.Age != 0 {
		t.Errorf("status %+v", st)
	}
	if c, err := checkpoint.Peek(f.Note(1)); err != nil || !c.Time.Equal(again.Time) {
		t.Errorf("passes on the note of %v, %v", c.Time, err)
	}
	if f.memory.kept != kept {
		t.Error("what was only signed again was written again")
	}
}

func TestWhatIsRememberedIsNeverIgnored(t *testing.T) {
	k, later := newKey(t, "writer"), newKey(t, "later")
	web := newShelf(t, sign(t, at(5, 0), k))
	f := newFollower(t, checkpoint.Trust{Keys: []checkpoint.Key{k.public}, MaxAge: time.Hour}, web.URL)
	f.want(t, at(5, 0))
	good := f.memory.note
	other := at(5, 0)
	other.Origin = "example.org/other"
	for name, note := range map[string][]byte{
		"garbage":   []byte("garbage"),
		"flipped":   bytes.Replace(good, []byte("\n5\n"), []byte("\n4\n"), 1),
		"truncated": good[:len(good)-5],
		"other log": sign(t, other, k),
	} {
		_, err := targets.New(f.pool, &memory{note: note}, f.o)
		e, ok := errors.AsType[*targets.MemoryError](err)
		if !ok || e.Path != "db/CHECKPOINT" || !strings.Contains(e.Error(), "remove it") || strings.Contains(e.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Keys that were replaced meanwhile, and age, do not matter.
	f.o.Trust.Keys = []checkpoint.Key{later.public}
	f.now = noon.Add(48 * time.Hour)
	f.restart(t)
	c := at(4, 0)
	c.Time = f.now
	web.put(sign(t, c, later))
	refused[*checkpoint.RollbackError](t, f)
	// What cannot be remembered is not relied on.
	c = at(6, 0)
	c.Time = f.now
	web.put(sign(t, c, later))
	got, err := f.Target(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.memory.err = errors.New("disk full")
	if err := f.Accept(got); !errors.Is(err, f.memory.err) || source.Classify(err) != source.Local {
		t.Errorf("accept: %v", err)
	}
	if a, _ := f.Accepted(); a.End != 5 {
		t.Errorf("accepted %+v", a)
	}
}

func TestAPushedTargetMakesTheCheckpointBeAskedForAtOnceAndNotTooOften(t *testing.T) {
	k := newKey(t, "writer")
	web := newShelf(t, sign(t, at(5, 0), k))
	f := newFollower(t, checkpoint.Trust{Keys: []checkpoint.Key{k.public}}, web.URL)
	f.o.Rate = 10
	f.restart(t)
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan source.Target, 100)
	done := make(chan struct{})
	go func() { defer close(done); f.Follow(ctx, func(t source.Target) { told <- t }) }()
	push := func(end uint64) {
		f.pool.push <- source.Target{Target: wire.Target{Root: at(end, 9).Target.Root, End: end}, Peer: "liar"}
	}
	push(5)
	if got := <-told; got.Target != at(5, 0).Target || !got.Signed {
		t.Fatalf("told of %+v", got)
	}
	// Pushed a moment before it was signed.
	push(6)
	for web.asked.Load() < 2 {
		time.Sleep(time.Millisecond)
	}
	web.put(sign(t, at(6, 0), k))
	if got := <-told; got.Target != at(6, 0).Target {
		t.Fatalf("told of %+v", got)
	}
	// One who pushes for ever.
	began, before := time.Now(), web.asked.Load()
	for time.Since(began) < 300*time.Millisecond {
		push(1) // so that one question answers it
	}
	most := int64(10*time.Since(began).Seconds()) + 6
	if n := web.asked.Load() - before; n > most {
		t.Errorf("asked %d times, at most %d expected", n, most)
	}
	cancel()
	<-done
	if len(told) > 0 {
		t.Errorf("told again of %+v", <-told)
	}
}

func TestAStaticTargetIsTheOnlyOne(t *testing.T) {
	target := at(5, 0).Target
	s := targets.NewStatic(&pool{}, target)
	for range 2 {
		got, err := s.Target(t.Context())
		if err != nil || got.Target != target || !got.Signed || got.Note != nil {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if _, ok := any(s).(source.Follower); ok {
		t.Error("it follows what is pushed")
	}
}
