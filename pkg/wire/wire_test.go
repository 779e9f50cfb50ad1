package wire_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"reflect"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/proofsync/proofsync/internal/vectors"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/wire"
	"pgregory.net/rapid"
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

func TestAnswersBindsTheReplyToItsRequest(t *testing.T) {
	c := codecs["any/fixed"]
	req := wire.GetOperations{ID: 4, Size: 20, Start: 10, Max: 5, Pins: true}
	good := func() *wire.Operations {
		return &wire.Operations{ID: 4, Proof: mmr.Proof{Leaves: 20}, Run: someRun(t, c, 5), Pins: someDigests(2), HasPins: true}
	}
	if err := good().Answers(req); err != nil {
		t.Fatal(err)
	}
	for why, change := range map[string]func(*wire.Operations, *wire.GetOperations){
		"id":              func(a *wire.Operations, _ *wire.GetOperations) { a.ID = 5 },
		"smaller size":    func(a *wire.Operations, _ *wire.GetOperations) { a.Proof.Leaves = 19 },
		"larger size":     func(a *wire.Operations, _ *wire.GetOperations) { a.Proof.Leaves = 21 },
		"nothing":         func(a *wire.Operations, _ *wire.GetOperations) { a.Run = operation.Run{} },
		"too much":        func(_ *wire.Operations, r *wire.GetOperations) { r.Max = 4 },
		"beyond the size": func(_ *wire.Operations, r *wire.GetOperations) { r.Start = 16 },
		"start at size":   func(_ *wire.Operations, r *wire.GetOperations) { r.Start = 20 },
		"start above":     func(_ *wire.Operations, r *wire.GetOperations) { r.Start = mmr.MaxLeaves },
		"no pins":         func(a *wire.Operations, _ *wire.GetOperations) { a.HasPins, a.Pins = false, nil },
		"pins":            func(_ *wire.Operations, r *wire.GetOperations) { r.Pins = false },
	} {
		a, r := good(), req
		change(a, &r)
		err := a.Answers(r)
		var typed *wire.AnswerError
		if !errors.Is(err, wire.ErrAnswer) || !errors.As(err, &typed) {
			t.Errorf("%s: %v", why, err)
		}
	}
	short := good()
	short.Run = short.Run.Slice(0, 1)
	if err := short.Answers(req); err != nil {
		t.Errorf("a short answer is an answer, but: %v", err)
	}
}

func TestFrameLengths(t *testing.T) {
	for _, c := range []struct {
		in   []byte
		want int
		err  error
	}{
		{[]byte{0}, 0, nil},
		{[]byte{5, 1}, 5, nil},
		{[]byte{0x80, 0x80, 0x80, 0x05}, wire.MaxFrame, nil},
		{[]byte{0x81, 0x80, 0x80, 0x05}, 0, wire.ErrFrameTooLarge},
		{[]byte{0xFF, 0xFF, 0xFF, 0xFF, 0x0F}, 0, wire.ErrFrameTooLarge},
		{[]byte{0xFF, 0xFF, 0xFF, 0xFF, 0x1F}, 0, wire.ErrFrame},
		{[]byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, 0, wire.ErrFrame},
		{[]byte{0x80, 0}, 0, wire.ErrFrame},
		{[]byte{0x80, 0x80, 0x80, 0x80, 0}, 0, wire.ErrFrame},
		{nil, 0, io.EOF},
		{[]byte{0x80}, 0, io.ErrUnexpectedEOF},
	} {
		n, err := wire.ReadFrameLen(bytes.NewReader(c.in))
		if n != c.want || !errors.Is(err, c.err) {
			t.Errorf("%x: %d, %v; want %d, %v", c.in, n, err, c.want, c.err)
		}
		if errors.Is(c.err, wire.ErrFrameTooLarge) && !errors.Is(err, wire.ErrFrame) {
			t.Errorf("%x: %v is no frame error", c.in, err)
		}
	}
}

func TestFramesHaveNoRelationToReads(t *testing.T) {
	first, err := wire.AppendFrame(nil, &wire.Error{ID: 1, Text: string(bytes.Repeat([]byte{'x'}, 300_000))})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := wire.AppendFrame(bytes.Clone(first), &wire.GetTarget{ID: 2})
	if err != nil {
		t.Fatal(err)
	}
	for why, r := range map[string]io.Reader{
		"one byte a read": iotest.OneByteReader(bytes.NewReader(stream)),
		"half reads":      iotest.HalfReader(bytes.NewReader(stream)),
		"error with data": iotest.DataErrReader(bytes.NewReader(stream)),
	} {
		br := bufio.NewReader(r)
		var buf []byte
		for i, want := range []int{len(first) - 3, 9} {
			if buf, err = wire.ReadFrame(br, buf, wire.MaxFrame); err != nil || len(buf) != want {
				t.Fatalf("%s: frame %d of %d bytes, %v; want %d", why, i, len(buf), err, want)
			}
		}
		if m, err := wire.Decode(buf, codecs["any/fixed"]); err != nil || m.RequestID() != 2 {
			t.Errorf("%s: %+v, %v", why, m, err)
		}
		if _, err := wire.ReadFrame(br, buf, wire.MaxFrame); err != io.EOF {
			t.Errorf("%s: at the end: %v", why, err)
		}
	}
	for n := 1; n < len(first); n += 9973 {
		if _, err := wire.ReadFrame(bufio.NewReader(bytes.NewReader(first[:n])), nil, wire.MaxFrame); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("stream cut after %d bytes: %v", n, err)
		}
	}
}

func TestReadFrameReusesTheBuffer(t *testing.T) {
	frame, err := wire.AppendFrame(nil, &wire.GetTarget{ID: 2})
	if err != nil {
		t.Fatal(err)
	}
	r, source := bufio.NewReader(nil), bytes.NewReader(nil)
	buf := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() {
		source.Reset(frame)
		r.Reset(source)
		if _, err := wire.ReadFrame(r, buf, wire.MaxFrame); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestReadFrameKeepsToTheCallersCap(t *testing.T) {
	var f *wire.FrameError
	_, err := wire.ReadFrame(bufio.NewReader(bytes.NewReader([]byte{101, 0})), nil, 100)
	if !errors.Is(err, wire.ErrFrameTooLarge) || !errors.As(err, &f) || f.Length != 101 || f.Max != 100 {
		t.Errorf("%v", err)
	}
}

// Whoever announces 10 MiB and sends little costs little.
func TestDeclaredLengthAloneAllocatesLittle(t *testing.T) {
	for sent, most := range map[int]uint64{0: 72 << 10, 1000: 72 << 10, 200_000: 1 << 20, wire.MaxFrame: 3 * wire.MaxFrame} {
		stream := append([]byte{0x80, 0x80, 0x80, 0x05}, make([]byte, sent)...)
		r := bufio.NewReader(bytes.NewReader(stream))
		var err error
		if n := allocated(func() { _, err = wire.ReadFrame(r, nil, wire.MaxFrame) }); n > most {
			t.Errorf("%d bytes sent: %d allocated, at most %d expected", sent, n, most)
		}
		if (err == nil) != (sent == wire.MaxFrame) {
			t.Errorf("%d bytes sent: %v", sent, err)
		}
	}
}

func TestAppendFrameRefusesWhatNobodyReads(t *testing.T) {
	// Tag, id, code and a length of four bytes stand before the text.
	most := wire.MaxFrame - 1 - 8 - 1 - 4
	text := bytes.Repeat([]byte{'x'}, most+1)
	frame, err := wire.AppendFrame(nil, &wire.Error{Text: string(text[:most])})
	if err != nil || len(frame) != 4+wire.MaxFrame {
		t.Errorf("%d bytes, %v", len(frame), err)
	}
	dst, err := wire.AppendFrame([]byte("kept"), &wire.Error{Text: string(text)})
	if !errors.Is(err, wire.ErrFrameTooLarge) || string(dst) != "kept" {
		t.Errorf("%d bytes, %v", len(dst), err)
	}
}

func TestMaxAnswerBoundsEveryAnswer(t *testing.T) {
	c := codecs["any/fixed"]
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Uint64Range(1, mmr.MaxLeaves).Draw(t, "size")
		start := rapid.Uint64Range(0, size-1).Draw(t, "start")
		ops := rapid.Uint64Range(1, min(size-start, wire.MaxOperations)).Draw(t, "operations")
		k := rapid.Uint64Range(0, uint64(len(mmr.Peaks(size)))).Draw(t, "inactive peaks")
		n, err := mmr.ProofSize(size, k, start, start+ops)
		if err != nil {
			t.Fatal(err)
		}
		p := mmr.Proof{Leaves: size, InactivePeaks: k, Digests: make([]mmr.Digest, n)}
		b := wire.AppendOperationsReply(nil, 1, p, int(ops), make([]byte, int(ops)*c.Size()), make([]mmr.Digest, len(mmr.Peaks(start))), true)
		if got, most := len(b)+4, wire.MaxAnswer(c, size, ops); got > most {
			t.Fatalf("%d bytes, bound is %d", got, most)
		}
	})
	if n := wire.MaxAnswer(codecs["any/variable"], 10, 1); n < wire.MaxFrame {
		t.Errorf("variable: %d", n)
	}
	if n := wire.MaxAnswer(c, 1000, 100); n > 100*65+5000 {
		t.Errorf("100 operations of 1000: %d", n)
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
	if got := wire.StaleTarget.String() + ", " + wire.Code(77).String(); got != "stale target, code(77)" {
		t.Errorf("%s", got)
	}
}

func BenchmarkDecodeMessage(b *testing.B) {
	const n = 10_000
	for _, name := range []string{"any/fixed", "any/variable"} {
		c := codecs[name]
		m := wire.Operations{Proof: mmr.Proof{Leaves: 1 << 20, Digests: someDigests(20)}, Run: someRun(b, c, n)}
		payload := m.AppendTo(nil)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := wire.Decode(payload, c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendFrame(b *testing.B) {
	m := wire.Operations{Proof: mmr.Proof{Leaves: 1 << 20, Digests: someDigests(20)}, Run: someRun(b, codecs["any/fixed"], 10_000)}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = wire.AppendFrame(dst[:0], &m); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(dst)))
}

// seeds adds every captured frame that is not long.
func seeds(f *testing.F, add func(c vectors.Case)) {
	for _, c := range vectors.Captures(f) {
		if c.Negative() && len(c.Cases) > 100 {
			continue // enough of these from the smaller captures
		}
		for _, k := range c.Cases {
			if len(k.Response) < 2000 {
				add(k)
			}
		}
	}
}
