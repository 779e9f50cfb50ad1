package hostile

import (
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/proofsync/proofsync/pkg/certs"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/wire"
)

// attacks are what attackers do, until their process ends.
var attacks = map[string]func(on victim){
	"connection-flood": func(on victim) {
		// The newest are kept, more than the server has places.
		var kept []net.Conn
		for {
			if c := dial(on.addr); c != nil {
				kept = append(kept, c)
			}
			if len(kept) > 2000 {
				kept[0].Close()
				kept = kept[1:]
			}
		}
	},
	"half-open": func(on victim) {
		keep(on.addr, 600, func(c net.Conn) {
			_, _ = c.Write([]byte{byte(len(on.everything()))}) // a frame is begun
			drain(c)
		})
	},
	"half-open-tls": func(on victim) {
		// The beginning of a client hello, which is not gone on with.
		keep(on.addr, 600, func(c net.Conn) {
			_, _ = c.Write([]byte{22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3})
			drain(c)
		})
	},
	"handshakes": func(on victim) {
		// Whole ones, by somebody without a certificate: a signature each.
		keep(on.addr, 30, func(c net.Conn) {
			t := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{certs.ProtoSync}})
			if t.Handshake() == nil {
				_, _ = t.Read(make([]byte, 1)) // until it is turned away
			}
		})
	},
	"garbage": func(on victim) {
		keep(on.addr, 30, func(c net.Conn) {
			rng := rand.NewChaCha8([32]byte{1})
			junk := make([]byte, 64<<10)
			for err := error(nil); err == nil; _, err = c.Write(junk) {
				_, _ = rng.Read(junk)
			}
		})
	},
	"frames-that-are-none": func(on victim) {
		keep(on.addr, 30, func(c net.Conn) {
			var junk []byte
			for range 1 << 14 {
				junk = append(junk, 2, 0xff, 0xff)
			}
			for err := error(nil); err == nil; _, err = c.Write(junk) {
			}
		})
	},
	"oversized-frames": func(on victim) {
		keep(on.addr, 30, func(c net.Conn) {
			junk := make([]byte, 64<<10)
			for {
				if _, err := c.Write(operation.AppendUvarint(nil, wire.MaxFrame)); err != nil {
					return
				}
				for range wire.MaxFrame / len(junk) {
					if _, err := c.Write(junk); err != nil {
						return
					}
				}
			}
		})
	},
	"everything": func(on victim) {
		keep(on.addr, 100, func(c net.Conn) {
			go pipeline(c, on.everything())
			drain(c)
		})
	},
	"never-reading": func(on victim) {
		keep(on.addr, 200, func(c net.Conn) { pipeline(c, on.everything()) })
	},
	"byte-by-byte": func(on victim) {
		keep(on.addr, 200, func(c net.Conn) {
			for {
				for _, b := range frame(&wire.GetTarget{ID: 1}) {
					if _, err := c.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(50 * time.Millisecond)
				}
			}
		})
	},
	"busy-processor": func(victim) { // not the server's fault, and what other attacks are compared with
		for n := 0; n >= 0; n++ { // until the process is ended
			n %= 1 << 20
		}
	},
	"target-flood": func(on victim) {
		keep(on.addr, 50, func(c net.Conn) {
			go pipeline(c, frame(&wire.GetTarget{ID: 1}))
			drain(c)
		})
	},
	"subscription-flood": func(on victim) {
		keep(on.addr, 50, func(c net.Conn) {
			go pipeline(c, frame(&wire.Subscribe{ID: 1}))
			drain(c)
		})
	},
}

// keep keeps n connections that do something; one that ends has a successor.
func keep(addr string, n int, do func(c net.Conn)) {
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for {
				c := dial(addr)
				if c == nil {
					continue
				}
				do(c)
				c.Close()
			}
		})
	}
	all.Wait()
}

// dial connects from the attacker's address; nil: it was not possible, now.
func dial(addr string) net.Conn {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}, Timeout: time.Second}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		time.Sleep(20 * time.Millisecond)
		return nil
	}
	return c
}

func frame(m wire.Message) []byte {
	b, err := wire.AppendFrame(nil, m)
	if err != nil {
		panic(err)
	}
	return b
}

// everything asks for as much as an answer can hold.
func (v victim) everything() []byte {
	return frame(&wire.GetOperations{ID: 1, Size: v.size, Max: wire.MaxOperations})
}

// pipeline writes a request without end.
func pipeline(c net.Conn, request []byte) {
	var many []byte
	for range 256 {
		many = append(many, request...)
	}
	for {
		if _, err := c.Write(many); err != nil {
			return
		}
	}
}

// drain reads until the connection ends. The kernel throws the bytes away, so
// that reading costs next to nothing.
func drain(c net.Conn) {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return
	}
	ended := false
	for !ended {
		err := raw.Read(func(fd uintptr) bool {
			n, _, err := syscall.Recvfrom(int(fd), scratch, syscall.MSG_TRUNC|syscall.MSG_DONTWAIT)
			if err == syscall.EAGAIN {
				return false
			}
			ended = n == 0 || err != nil
			return true
		})
		if err == io.EOF || err != nil {
			return
		}
	}
}

// scratch is only a length: nothing is copied to it.
var scratch = make([]byte, 4<<20)
