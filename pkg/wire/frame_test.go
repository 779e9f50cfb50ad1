package wire_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/wire"
)

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

func TestAppendOperationsFrameIsTheFrameOfTheReply(t *testing.T) {
	c := codecs["any/fixed"]
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.SampledFrom([]int{1, 2, 127, 128, 250, 9000}).Draw(t, "operations")
		p := mmr.Proof{
			Leaves:        rapid.Uint64().Draw(t, "leaves"),
			InactivePeaks: rapid.Uint64Range(0, 200).Draw(t, "inactive peaks"),
			Digests:       make([]mmr.Digest, rapid.SampledFrom([]int{0, 1, 20, 127, 128}).Draw(t, "digests")),
		}
		pins := make([]mmr.Digest, rapid.SampledFrom([]int{0, 1, 62}).Draw(t, "pins"))
		hasPins, ops := rapid.Bool().Draw(t, "has pins"), bytes.Repeat([]byte{7}, count*c.Size())
		message := wire.AppendOperationsReply(nil, 5, p, count, ops, pins, hasPins)
		want := append(operation.AppendUvarint([]byte("before"), uint64(len(message))), message...)
		got, err := wire.AppendOperationsFrame([]byte("before"), 5, p, count, ops, pins, hasPins)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, %v; want %d", len(got), err, len(want))
		}
	})
	before := []byte("before")
	got, err := wire.AppendOperationsFrame(before, 5, mmr.Proof{}, 1, make([]byte, wire.MaxFrame), nil, false)
	if !errors.Is(err, wire.ErrFrameTooLarge) || !bytes.Equal(got, before) {
		t.Errorf("a frame that nobody reads: %d bytes, %v", len(got), err)
	}
}
