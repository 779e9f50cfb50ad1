package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/wire"
)

// allocated is how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func someDigests(n int) []mmr.Digest {
	ds := make([]mmr.Digest, n)
	for i := range ds {
		ds[i][0] = byte(i + 1)
	}
	return ds
}

// someRun is a run of n updates with empty values.
func someRun(tb testing.TB, c operation.Codec, n int) operation.Run {
	tb.Helper()
	var b []byte
	var err error
	for range n {
		op := operation.Operation{Kind: operation.Update, Key: make([]byte, 32), Value: make([]byte, 32)}
		if b, err = c.Append(b, op); err != nil {
			tb.Fatal(err)
		}
	}
	run, err := c.NewRun(b)
	if err != nil {
		tb.Fatal(err)
	}
	return run
}

func TestMessagesRoundTrip(t *testing.T) {
	c := codecs["any/variable"]
	location := rapid.Uint64Range(0, mmr.MaxLeaves)
	digest := rapid.Custom(func(t *rapid.T) mmr.Digest {
		return mmr.Digest(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "digest"))
	})
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.Uint64().Draw(t, "id")
		proof := mmr.Proof{
			Leaves: location.Draw(t, "leaves"), InactivePeaks: rapid.Uint64().Draw(t, "inactive peaks"),
			Digests: rapid.SliceOfN(digest, 0, 5).Draw(t, "digests"),
		}
		compact := wire.CompactTarget{Root: digest.Draw(t, "root"), Leaves: max(1, location.Draw(t, "leaves"))}
		start := rapid.Uint64Range(0, mmr.MaxLeaves-1).Draw(t, "start")
		target := wire.Target{Root: compact.Root, Start: start, End: rapid.Uint64Range(start+1, mmr.MaxLeaves).Draw(t, "end")}
		operations := &wire.Operations{ID: id, Proof: proof, Run: someRunOf(t, c, rapid.IntRange(0, 5).Draw(t, "operations"))}
		if operations.HasPins = rapid.Bool().Draw(t, "has pins"); operations.HasPins {
			operations.Pins = rapid.SliceOfN(digest, 0, wire.MaxPins).Draw(t, "pins")
		}
		for _, m := range []wire.Message{
			&wire.GetOperations{ID: id, Size: location.Draw(t, "size"), Start: start, Max: max(1, rapid.Uint64().Draw(t, "max")), Pins: operations.HasPins},
			operations,
			&wire.GetTarget{ID: id},
			&wire.TargetReply{ID: id, Target: target},
			&wire.GetCompactTarget{ID: id},
			&wire.CompactTargetReply{ID: id, Target: compact},
			&wire.GetCompactState{ID: id, Target: compact},
			&wire.CompactState{ID: id, Leaves: compact.Leaves, Pins: proof.Digests, Commit: someRunOf(t, c, 1), Proof: proof},
			&wire.Error{ID: id, Code: wire.Code(rapid.IntRange(0, 5).Draw(t, "code")), Text: rapid.String().Draw(t, "text")},
			&wire.Subscribe{ID: id, Features: wire.Features(rapid.Uint64().Draw(t, "features"))},
			&wire.TargetPush{ID: id, Features: wire.Features(rapid.Uint64().Draw(t, "features")), Target: target},
		} {
			b := m.AppendTo(nil)
			back, err := wire.Decode(b, c)
			if err != nil || reflect.TypeOf(back) != reflect.TypeOf(m) || !bytes.Equal(back.AppendTo(nil), b) {
				t.Fatalf("%+v decodes to %+v, %v", m, back, err)
			}
			if tag, peeked, ok := wire.Peek(b); tag != m.Tag() || peeked != id || m.RequestID() != id || !ok {
				t.Fatalf("peek: tag %d, id %d, %v", tag, peeked, ok)
			}
			// Every byte counts: one less, one more.
			if _, err := wire.Decode(b[:len(b)-1], c); !errors.Is(err, wire.ErrDecode) {
				t.Fatalf("%T cut short: %v", m, err)
			}
			if _, err := wire.Decode(append(b, 0), c); !errors.Is(err, wire.ErrDecode) {
				t.Fatalf("%T with a byte left over: %v", m, err)
			}
		}
	})
}

func someRunOf(t *rapid.T, c operation.Codec, n int) operation.Run {
	var b []byte
	for range n {
		var err error
		b, err = c.Append(b, operation.Operation{Kind: operation.Commit, Value: rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "metadata")})
		if err != nil {
			t.Fatal(err)
		}
	}
	run, err := c.NewRun(b)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// message is a message with this tag, request id 7 and body.
func message(tag byte, body ...any) []byte {
	b := []byte{tag, 0, 0, 0, 0, 0, 0, 0, 7}
	for _, x := range body {
		switch x := x.(type) {
		case int:
			b = binary.AppendUvarint(b, uint64(x))
		case uint64:
			b = binary.AppendUvarint(b, x)
		case []byte:
			b = append(b, x...)
		case string:
			b = append(binary.AppendUvarint(b, uint64(len(x))), x...)
		}
	}
	return b
}

func TestDecoderRefuses(t *testing.T) {
	be := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
	root := make([]byte, 32)
	// Of the largest counts, as many items are there as are allowed plus one.
	tooManyOps := someRun(t, codecs["any/fixed"], wire.MaxOperations+1)
	tooManyDigests := make([]byte, (wire.MaxDigests+1)*32)
	cut, _, err := codecs["any/fixed"].Split(tooManyOps.Bytes(), wire.MaxOperations)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		why     string
		payload []byte
		ok      bool
	}{
		{"nothing", nil, false},
		{"tag alone", []byte{2}, false},
		{"id cut short", []byte{2, 0, 0, 0, 0, 0, 0, 0}, false},
		{"get target", message(2), true},
		{"unknown tag", message(9), false},
		{"max 0", message(0, 10, 1, be(0), []byte{0}), false},
		{"max 2^64-1", message(0, 10, 1, be(math.MaxUint64), []byte{0}), true},
		{"any non-zero byte is true", message(0, 10, 1, be(1), []byte{0x80}), true},
		{"size 2^62", message(0, uint64(mmr.MaxLeaves), 1, be(1), []byte{0}), true},
		{"size above 2^62", message(0, uint64(mmr.MaxLeaves+1), 1, be(1), []byte{0}), false},
		{"start above 2^62", message(0, 10, uint64(mmr.MaxLeaves+1), be(1), []byte{0}), false},
		{"longer varint than needed", message(0, []byte{0x8A, 0}, 1, be(1), []byte{0}), false},
		{"target", message(3, root, 1, 2), true},
		{"empty target range", message(3, root, 2, 2), false},
		{"target above 2^62", message(3, root, 2, uint64(mmr.MaxLeaves+1)), false},
		{"compact target of no leaves", message(5, root, 0), false},
		{"error", message(8, []byte{5}, "text"), true},
		{"unknown error code", message(8, []byte{6}, "text"), false},
		{"text is not utf-8", message(8, []byte{5}, "\xFF"), false},
		{"no operations", message(1, 10, 0, 0, 0, []byte{0}), true},
		{"proof above 2^62", message(1, uint64(mmr.MaxLeaves+1), 0, 0, 0, []byte{0}), false},
		{"inactive peaks 2^64-1", message(1, 10, uint64(math.MaxUint64), 0, 0, []byte{0}), true},
		{"most operations", message(1, 10, 0, 0, wire.MaxOperations, cut.Bytes(), []byte{0}), true},
		{"one operation more", message(1, 10, 0, 0, wire.MaxOperations+1, tooManyOps.Bytes(), []byte{0}), false},
		{"most digests", message(1, 10, 0, wire.MaxDigests, tooManyDigests[32:], 0, []byte{0}), true},
		{"one digest more", message(1, 10, 0, wire.MaxDigests+1, tooManyDigests, 0, []byte{0}), false},
		{"most pins", message(1, 10, 0, 0, 0, []byte{9}, wire.MaxPins, tooManyDigests[:wire.MaxPins*32]), true},
		{"one pin more", message(1, 10, 0, 0, 0, []byte{9}, wire.MaxPins+1, tooManyDigests[:(wire.MaxPins+1)*32]), false},
		{"subscription", message(wire.TagSubscribe, 0), true},
		{"subscription with unknown features", message(wire.TagSubscribe, uint64(math.MaxUint64)), true},
		{"subscription without features", message(wire.TagSubscribe), false},
		{"features in more bytes than needed", message(wire.TagSubscribe, []byte{0x80, 0}), false},
		{"features of more than 64 bits", message(wire.TagSubscribe, bytes.Repeat([]byte{0xff}, 9), []byte{2}), false},
		{"push", message(wire.TagTargetPush, 0, root, 1, 2), true},
		{"push without a target", message(wire.TagTargetPush, 0), false},
		{"push of an empty target range", message(wire.TagTargetPush, 0, root, 2, 2), false},
		{"push of a target above 2^62", message(wire.TagTargetPush, 0, root, 2, uint64(mmr.MaxLeaves+1)), false},
		{"the tag before the extensions", message(wire.TagSubscribe - 1), false},
		{"the tag after the extensions", message(wire.TagTargetPush + 1), false},
		{"no pins, but announced", message(1, 10, 0, 0, 0, []byte{1}), false},
	} {
		m, err := wire.Decode(c.payload, codecs["any/fixed"])
		if (err == nil) != c.ok || (m == nil) == c.ok {
			t.Errorf("%s: %T, %v", c.why, m, err)
		}
		if err != nil && !errors.Is(err, wire.ErrDecode) {
			t.Errorf("%s: untyped error %v", c.why, err)
		}
	}
}

func TestDecodeErrorsKeepTheCauseInTheOperations(t *testing.T) {
	bad := message(1, 10, 0, 0, 1, bytes.Repeat([]byte{0xEE}, 65), []byte{0})
	_, err := wire.Decode(bad, codecs["any/fixed"])
	var d *operation.DecodeError
	if !errors.Is(err, wire.ErrDecode) || !errors.As(err, &d) {
		t.Errorf("%v", err)
	}
}

func TestHugeCountsAllocateNothing(t *testing.T) {
	for _, n := range []uint64{10_000, math.MaxUint32, math.MaxUint64} {
		for why, payload := range map[string][]byte{
			"digests":    message(1, 10, 0, n),
			"operations": message(1, 10, 0, 0, n),
			"pins":       message(1, 10, 0, 0, 0, []byte{1}, n),
			"text":       message(8, []byte{1}, n),
		} {
			for name, c := range codecs {
				var err error
				if b := allocated(func() { _, err = wire.Decode(payload, c) }); b > 4096 || !errors.Is(err, wire.ErrDecode) {
					t.Errorf("%s: %d %s: %d bytes allocated, %v", name, n, why, b, err)
				}
			}
		}
	}
}

func TestTruePinsAreNotAbsentPins(t *testing.T) {
	m, err := wire.Decode(message(1, 10, 0, 0, 0, []byte{1}, 0), codecs["any/fixed"])
	if err != nil {
		t.Fatal(err)
	}
	if a := m.(*wire.Operations); !a.HasPins || len(a.Pins) != 0 {
		t.Errorf("%+v", a)
	}
}

func TestTextForms(t *testing.T) {
	root := mmr.Digest{0xAB}
	if got, want := (wire.Target{Root: root, Start: 1, End: 9}).String(), root.String()+":1:9"; got != want {
		t.Errorf("%s", got)
	}
	if got, want := (wire.CompactTarget{Root: root, Leaves: 9}).String(), root.String()+":9"; got != want {
		t.Errorf("%s", got)
	}
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "target", wire.Target{Root: root, Start: 1, End: 9}, "compact", wire.CompactTarget{Root: root, Leaves: 9})
	if want := fmt.Sprintf(`"target":"%s:1:9","compact":"%s:9"}`, root, root); !strings.Contains(logged.String(), want) {
		t.Errorf("logged as %s", logged.String())
	}
	if got := wire.StaleTarget.String() + ", " + wire.Code(77).String(); got != "stale target, code(77)" {
		t.Errorf("%s", got)
	}
}

func TestErrorTextIsAlwaysReadable(t *testing.T) {
	b := (&wire.Error{Code: wire.Database, Text: "key \xFF\xFE"}).AppendTo(nil)
	m, err := wire.Decode(b, codecs["any/fixed"])
	if e, ok := m.(*wire.Error); err != nil || !ok || e.Text != "key \uFFFD" {
		t.Errorf("%+v, %v", m, err)
	}
}
