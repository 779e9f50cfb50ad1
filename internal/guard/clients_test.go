package guard

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func addressed(i int) Client {
	return NewClient("", netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32))
}

func newBuckets(most int) *Clients[Bucket] {
	return NewClients(most, func() *Bucket { return NewBucket(1) },
		func(b *Bucket, now time.Time) bool { return b.Used(now) <= 0 })
}

func TestClientsThatAreRememberedAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 100
		c := newBuckets(most)
		for i := range most + 50 {
			c.Of(addressed(i)).Take(time.Now(), 1)
		}
		if c.Len() != most {
			t.Errorf("%d clients", c.Len())
		}
		if c.Of(addressed(0)).Take(time.Now(), 1) == 0 {
			t.Error("a client was forgotten that had used up its rate")
		}
		if c.Of(addressed(1000)).Take(time.Now(), 1) == 0 {
			t.Error("clients without a place share one, which is used up")
		}
		used, done := c.Use(addressed(7))
		time.Sleep(time.Minute)
		if c.Of(addressed(1000)).Take(time.Now(), 1) != 0 || c.Len() != 2 {
			t.Errorf("%d clients after all were quiet", c.Len())
		}
		if c.Of(addressed(7)) != used {
			t.Error("a client was forgotten that is there")
		}
		done()
		time.Sleep(time.Minute)
		for i := range most {
			c.Of(addressed(2000 + i))
		}
		if c.Of(addressed(7)) == used {
			t.Error("a client that has gone is never forgotten")
		}
	})
}

func TestClientIsItsNameOrItsHost(t *testing.T) {
	a, b := addressed(1).Host, addressed(2).Host
	if NewClient("x", a) != NewClient("x", b) {
		t.Error("one certificate at two addresses is two clients")
	}
	if NewClient("x", a) == NewClient("y", a) || NewClient("", a) == NewClient("", b) || NewClient("", a) == NewClient("x", a) {
		t.Error("two clients are one")
	}
	for want, c := range map[string]Client{"spiffe://a/b": NewClient("spiffe://a/b", a), "10.0.0.1/32": NewClient("", a), "without an address": {}} {
		if c.String() != want {
			t.Errorf("%q, want %q", c, want)
		}
	}
}
