package serve

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/proofsync/proofsync/pkg/wire"
)

// script is a connection whose peer says what was written down before, then
// shuts its sending side, and takes every reply.
type script struct {
	io.Reader
	host   uint32       // its address: what others send does not count against it
	out    bytes.Buffer // written by the session's writer until closed
	once   sync.Once
	closed chan struct{}
}

func (s *script) Write(b []byte) (int, error) { return s.out.Write(b) }
func (s *script) Close() error                { s.once.Do(func() { close(s.closed) }); return nil }
func (s *script) LocalAddr() net.Addr         { return &net.UnixAddr{} }
func (s *script) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: binary.BigEndian.AppendUint32(nil, s.host)}
}
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// answer is what identifies a reply.
type answer struct {
	id   uint64
	tag  byte
	code wire.Code
}

// wanted is what input has to be answered with, said simply: the rules of
// format.md section 5, applied to whole frames one after the other. junk is how
// many of them get no answer.
func wanted(f *fixture, input []byte) (all map[answer]int, junk int) {
	boundaries := make(map[uint64]bool)
	for _, c := range f.commits {
		boundaries[c.Size] = true
	}
	size := f.last().Size
	all = make(map[answer]int)
	r := bufio.NewReader(bytes.NewReader(input))
	for {
		payload, err := wire.ReadFrame(r, nil, wire.MaxFrame)
		if err != nil {
			return all, junk
		}
		m, err := wire.Decode(payload, f.Codec())
		if err != nil || len(payload) > DefaultMaxRequestBytes {
			junk++
			continue
		}
		a := answer{id: m.RequestID(), tag: wire.TagError, code: wire.InvalidRequest}
		switch m := m.(type) {
		case *wire.GetTarget:
			a.tag = wire.TagTargetReply
		case *wire.Subscribe:
			a.tag = wire.TagTargetPush
		case *wire.GetOperations:
			switch {
			case m.Start >= m.Size || m.Start >= size:
			case !boundaries[m.Size]:
				a.code = wire.Database
			default:
				a.tag = wire.TagOperations
			}
		}
		all[a]++
	}
}

func FuzzSession(f *testing.F) {
	db := newFixture(f, anyFixed, 6, 5, 32)
	size := db.last().Size
	for _, ms := range [][]wire.Message{
		{&wire.GetTarget{ID: 1}, &wire.GetTarget{ID: 1}},
		{&wire.GetOperations{ID: 2, Size: size, Start: 3, Max: 7, Pins: true}, &wire.GetOperations{ID: 3, Size: size - 1, Max: 7}},
		{&wire.GetOperations{ID: 4, Size: size + 1, Start: 3, Max: 1}, &wire.GetOperations{ID: 5, Size: 1, Start: 1, Max: 1}},
		{&wire.GetCompactTarget{ID: 6}, &wire.Error{ID: 7, Text: "x"}, &wire.GetTarget{ID: 8}},
		{&wire.Subscribe{ID: 9, Features: 1}, &wire.GetTarget{ID: 10}, &wire.Subscribe{ID: 11}, &wire.TargetPush{ID: 12, Target: wire.Target{End: 1}}},
	} {
		b := frames(f, ms...)
		f.Add(b, true)
		f.Add(b[:len(b)-1], false)
		f.Add(append(b, 0, 0xff, 0xff, 0xff, 0xff, 0xff), false)
		f.Add(append([]byte{3, 1, 2, 3, 0}, b...), true)
		f.Add(append(append([]byte{0x81, 0x80, 0x01}, make([]byte, DefaultMaxRequestBytes+1)...), b...), false)
	}
	l := newPipes()
	start(f, db, Options{}, l)
	var hosts atomic.Uint32
	f.Fuzz(func(t *testing.T, input []byte, oneByOne bool) {
		want, junk := wanted(db, input)
		if junk > junkRate/2 {
			t.Skip("more than may be sent in a moment")
		}
		conn := &script{Reader: bytes.NewReader(input), host: hosts.Add(1), closed: make(chan struct{})}
		if oneByOne {
			conn.Reader = iotest.OneByteReader(conn.Reader)
		}
		l.conns <- conn
		<-conn.closed
		got := make(map[answer]int)
		for r := bufio.NewReader(&conn.out); ; {
			payload, err := wire.ReadFrame(r, nil, wire.MaxFrame)
			if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				break
			}
			if err != nil {
				t.Fatalf("reply: %v", err)
			}
			m, err := wire.Decode(payload, anyFixed)
			if err != nil {
				t.Fatalf("reply %x: %v", payload, err)
			}
			a := answer{id: m.RequestID(), tag: m.Tag()}
			if refused, ok := m.(*wire.Error); ok {
				a.code = refused.Code
			}
			got[a]++
		}
		if !maps.Equal(got, want) {
			t.Errorf("answered %v, want %v", got, want)
		}
	})
}
