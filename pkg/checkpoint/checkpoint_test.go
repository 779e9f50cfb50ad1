package checkpoint

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/wire"
)

var (
	anyFixed = operation.NewCodec(operation.Any, operation.Fixed)
	noon     = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
)

func sample() Checkpoint {
	return Checkpoint{
		Origin: "example.org/orders", Target: wire.Target{Root: mmr.Digest{1, 2, 3}, Start: 7, End: 1001},
		Codec: anyFixed, Epoch: 2, Time: noon,
	}
}

// party is somebody who signs.
type party struct {
	signer Signer
	key    Key
}

func newParty(t testing.TB, name string) party {
	t.Helper()
	private, public, err := GenerateKey(name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ParseSigner(private + "\n")
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return party{signer, key}
}

func sign(t testing.TB, c Checkpoint, parties ...party) []byte {
	t.Helper()
	var signers []Signer
	for _, p := range parties {
		signers = append(signers, p.signer)
	}
	signed, err := Sign(c, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func trust(quorum int, parties ...party) *Trust {
	tr := &Trust{Origin: "example.org/orders", Codec: anyFixed, Quorum: quorum, MaxAge: time.Hour}
	for _, p := range parties {
		tr.Keys = append(tr.Keys, p.key)
	}
	return tr
}

func TestTextIsWhatIsDocumented(t *testing.T) {
	want := "example.org/orders\n1001\nAQIDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n" +
		"start 7\nepoch 2\nfamily any\nencoding fixed\ntime 2026-01-02T12:00:00Z\n"
	if got := sample().Text(); got != want {
		t.Fatalf("text\n%s\nwant\n%s", got, want)
	}
	c, err := Parse(want)
	if err != nil || c != sample() {
		t.Fatalf("parsed %+v, %v", c, err)
	}
	if c, err := Parse(want + "colour green\n"); err != nil || c != sample() {
		t.Fatalf("with a line of a later version: %+v, %v", c, err)
	}
}

func TestTextHasOneForm(t *testing.T) {
	text := sample().Text()
	for name, bad := range map[string]string{
		"empty":                text[:0],
		"last line open":       strings.TrimSuffix(text, "\n"),
		"cut":                  "example.org/orders\n1001\n",
		"no origin":            "\n" + strings.SplitN(text, "\n", 2)[1],
		"origin with a space":  strings.Replace(text, "org/", "org /", 1),
		"long origin":          strings.Replace(text, "orders", strings.Repeat("x", 300), 1),
		"leading zero":         strings.Replace(text, "\n1001\n", "\n01001\n", 1),
		"sign":                 strings.Replace(text, "\n1001\n", "\n+1001\n", 1),
		"size over 64 bits":    strings.Replace(text, "\n1001\n", "\n99999999999999999999\n", 1),
		"size over 2^62":       strings.Replace(text, "\n1001\n", "\n9999999999999999999\n", 1),
		"size below start":     strings.Replace(text, "\n1001\n", "\n7\n", 1),
		"root too short":       strings.Replace(text, "AQIDAAAA", "AQID", 1),
		"root too long":        strings.Replace(text, "AQIDAAAA", "AQIDAAAAAAAA", 1),
		"root not canonical":   strings.Replace(text, "AAA=\n", "AAB=\n", 1),
		"root not base64":      strings.Replace(text, "AQID", "AQ!D", 1),
		"lines exchanged":      strings.Replace(text, "start 7\nepoch 2", "epoch 2\nstart 7", 1),
		"no value":             strings.Replace(text, "start 7", "start", 1),
		"unknown family":       strings.Replace(text, "family any", "family some", 1),
		"unknown encoding":     strings.Replace(text, "encoding fixed", "encoding mixed", 1),
		"time of another zone": strings.Replace(text, "12:00:00Z", "12:00:00+01:00", 1),
		"fractions of seconds": strings.Replace(text, "12:00:00Z", "12:00:00.5Z", 1),
		"many lines":           text + strings.Repeat("x\n", 100),
		"too long":             text + strings.Repeat("x", MaxNote) + "\n",
	} {
		var format *FormatError
		if c, err := Parse(bad); !errors.As(err, &format) {
			t.Errorf("%s: %+v, %v", name, c, err)
		} else if len(err.Error()) > 400 || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q is not one clear line", name, err)
		}
	}
}

func TestQuorumCountsKeysAndNotNames(t *testing.T) {
	writer, a, b, stranger := newParty(t, "writer"), newParty(t, "witness-a"), newParty(t, "witness-b"), newParty(t, "stranger")
	// The key of a under another name: a second signature, and no second party.
	raw := append([]byte{1}, a.key.public[:]...)
	alias := party{key: mustAlias(t, "alias", raw)}
	signed := sign(t, sample(), writer, a, stranger)
	for name, c := range map[string]struct {
		trust *Trust
		ok    bool
	}{
		"one of one":         {trust(1, writer), true},
		"two of three":       {trust(2, writer, a, b), true},
		"three of three":     {trust(3, writer, a, b), false},
		"nobody known":       {trust(1, b), false},
		"listed twice":       {trust(1, writer, writer), true},
		"under two names":    {trust(2, writer, a, alias), true},
		"more than there is": {trust(2, a, alias), false},
		"none required":      {trust(0, writer), false},
		"no keys":            {trust(1), false},
	} {
		s, err := c.trust.Verify(signed, noon)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if c.ok && s != nil && (s.Checkpoint != sample() || len(s.Signers) < c.trust.Quorum || !bytes.Equal(s.Note, signed)) {
			t.Errorf("%s: %+v", name, s)
		}
	}
	_, err := trust(3, writer, a, b).Verify(signed, noon)
	var q *QuorumError
	if !errors.As(err, &q) || q.Have != 2 || q.Want != 3 || len(q.Unknown) != 1 || q.Unknown[0] != "stranger" {
		t.Errorf("error %v", err)
	}
}

func mustAlias(t *testing.T, name string, raw []byte) Key {
	t.Helper()
	text, err := noteKey(name, raw[1:])
	if err != nil {
		t.Fatal(err)
	}
	k, err := ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAliasSignaturesCountOnce(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	both := make([]party, 2)
	for i, name := range []string{"one", "two"} {
		text, err := noteKey(name, public)
		if err != nil {
			t.Fatal(err)
		}
		key, err := ParseKey(text)
		if err != nil {
			t.Fatal(err)
		}
		both[i] = party{rawSigner{key, private}, key}
	}
	other := newParty(t, "three")
	signed := sign(t, sample(), both...)
	if _, err := trust(2, both[0], both[1], other).Verify(signed, noon); err == nil {
		t.Fatal("two signatures of one key made a quorum of two")
	}
	if s, err := trust(1, both[0], both[1], other).Verify(signed, noon); err != nil || len(s.Signers) != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
}

// rawSigner signs with a key whose private form in notes we do not have.
type rawSigner struct {
	Key
	private ed25519.PrivateKey
}

func (s rawSigner) KeyHash() uint32                 { return s.verifier.KeyHash() }
func (s rawSigner) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(s.private, msg), nil }

func TestOnlyTheRightLogOfTheRightTimeIsBelieved(t *testing.T) {
	w := newParty(t, "writer")
	signed := sign(t, sample(), w)
	check := func(name string, tr *Trust, now time.Time, want any) {
		t.Helper()
		_, err := tr.Verify(signed, now)
		if err == nil || !errors.As(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := trust(1, w).Verify(signed, noon.Add(time.Hour)); err != nil {
		t.Error("as old as it may be:", err)
	}
	if _, err := trust(1, w).Verify(signed, noon.Add(-5*time.Minute)); err != nil {
		t.Error("clocks that differ a little:", err)
	}
	check("stale", trust(1, w), noon.Add(time.Hour+time.Second), new(*StaleError))
	check("future", trust(1, w), noon.Add(-6*time.Minute), new(*FutureError))
	other := trust(1, w)
	other.Origin = "example.org/other"
	check("origin", other, noon, new(*OriginError))
	variable := trust(1, w)
	variable.Codec = operation.NewCodec(operation.Any, operation.Variable)
	check("encoding", variable, noon, new(*CodecError))
	ageless := trust(1, w)
	ageless.MaxAge = 0
	if _, err := ageless.Verify(signed, noon.AddDate(10, 0, 0)); err != nil {
		t.Error("no age given:", err)
	}
	stale, err := trust(1, w).Verify(signed, noon.AddDate(1, 0, 0))
	if stale == nil || stale.Checkpoint != sample() || err == nil {
		t.Errorf("a stale one comes with the error: %+v, %v", stale, err)
	}
}

func TestEveryFlippedByteIsRefused(t *testing.T) {
	a, b := newParty(t, "writer"), newParty(t, "witness")
	signed := sign(t, sample(), a, b)
	tr := trust(2, a, b)
	if _, err := tr.Verify(signed, noon); err != nil {
		t.Fatal(err)
	}
	for i := range signed {
		for _, bit := range []byte{1, 0x20, 0x80} {
			bad := bytes.Clone(signed)
			bad[i] ^= bit
			if s, err := tr.Verify(bad, noon); err == nil {
				t.Fatalf("byte %d: %q was believed: %+v", i, bad, s)
			}
		}
		if s, err := tr.Verify(signed[:i], noon); err == nil {
			t.Fatalf("cut at %d, believed: %+v", i, s)
		}
	}
}

func TestGarbageIsNotANote(t *testing.T) {
	w := newParty(t, "writer")
	signed := sign(t, sample(), w)
	for name, bad := range map[string][]byte{
		"nothing":          nil,
		"text only":        []byte(sample().Text()),
		"no newline":       signed[:len(signed)-1],
		"not UTF-8":        append([]byte{0xff}, signed...),
		"control":          append([]byte{0}, signed...),
		"bad base64":       bytes.Replace(signed, []byte("— writer "), []byte("— writer !"), 1),
		"too long":         append(bytes.Clone(signed), make([]byte, MaxNote)...),
		"many signatures":  append(bytes.Clone(signed), bytes.Repeat([]byte("— x AAAAAAA=\n"), 200)...),
		"signed by itself": []byte(sample().Text() + "\n— writer AAAAAAAA\n"),
	} {
		if s, err := trust(1, w).Verify(bad, noon); err == nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestCosignAndMerge(t *testing.T) {
	a, b, c := newParty(t, "a"), newParty(t, "b"), newParty(t, "c")
	one := sign(t, sample(), a)
	two, err := Cosign(one, b.signer)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Cosign(two, b.signer); err != nil || bytes.Count(again, []byte("— b ")) != 1 {
		t.Fatalf("signed again:\n%s%v", again, err)
	}
	three, err := Cosign(one, c.signer)
	if err != nil {
		t.Fatal(err)
	}
	all, err := Merge(two, three, one)
	if err != nil {
		t.Fatal(err)
	}
	s, err := trust(3, a, b, c).Verify(all, noon)
	if err != nil || len(s.Signers) != 3 {
		t.Fatalf("merged:\n%s%+v, %v", all, s, err)
	}
	other := sample()
	other.Target.End++
	if _, err := Merge(one, sign(t, other, b)); err == nil {
		t.Fatal("signatures of another checkpoint were merged")
	}
	if got, err := Peek(all); err != nil || got != sample() {
		t.Fatalf("peek %+v, %v", got, err)
	}
}

func TestFollows(t *testing.T) {
	last := sample()
	with := func(change func(*Checkpoint)) Checkpoint {
		c := sample()
		change(&c)
		return c
	}
	var (
		rollback *RollbackError
		fork     *ForkError
		origin   *OriginError
	)
	for name, x := range map[string]struct {
		c    Checkpoint
		want any
	}{
		"the same":         {sample(), nil},
		"signed again":     {with(func(c *Checkpoint) { c.Time = c.Time.Add(time.Minute) }), nil},
		"longer":           {with(func(c *Checkpoint) { c.Target.End++; c.Target.Root[0]++ }), nil},
		"shorter":          {with(func(c *Checkpoint) { c.Target.End--; c.Target.Root[0]++ }), &rollback},
		"older start":      {with(func(c *Checkpoint) { c.Target.End++; c.Target.Start-- }), &rollback},
		"older epoch":      {with(func(c *Checkpoint) { c.Epoch--; c.Target.End += 10 }), &rollback},
		"another root":     {with(func(c *Checkpoint) { c.Target.Root[0]++ }), &fork},
		"declared":         {with(func(c *Checkpoint) { c.Epoch++; c.Target.End -= 10; c.Target.Root[0]++ }), nil},
		"of another log":   {with(func(c *Checkpoint) { c.Origin = "example.org/other" }), &origin},
		"declared, origin": {with(func(c *Checkpoint) { c.Epoch++; c.Origin = "x" }), &origin},
	} {
		err := x.c.Follows(last)
		if x.want == nil && err != nil || x.want != nil && (err == nil || !errors.As(err, x.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeys(t *testing.T) {
	private, public, err := GenerateKey("writer")
	if err != nil {
		t.Fatal(err)
	}
	if k, err := ParseKey(public); err != nil || k.Name() != "writer" || k.String() != public {
		t.Fatalf("%v, %v", k, err)
	}
	for _, bad := range []string{"", "writer", private, public[:len(public)-4], "other" + strings.TrimPrefix(public, "writer"), public + "!"} {
		if k, err := ParseKey(bad); err == nil {
			t.Errorf("%q is a key: %v", bad, k)
		} else if strings.Contains(err.Error(), private) {
			t.Errorf("a private key in the error %q", err)
		}
	}
	ecdsa := "writer+00000000+" + base64.StdEncoding.EncodeToString(append([]byte{2}, make([]byte, 32)...))
	if _, err := ParseKey(ecdsa); err == nil {
		t.Error("a key of another algorithm was taken")
	}
	for _, bad := range []string{"", public, private[:len(private)-4], strings.Replace(private, "PRIVATE", "PUBLIC", 1)} {
		if _, err := ParseSigner(bad); err == nil || strings.Contains(err.Error(), "+writer+") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, bad := range []string{"", "a b", "a+b", "a\nb", "\xff"} {
		if _, _, err := GenerateKey(bad); err == nil {
			t.Errorf("name %q was taken", bad)
		}
	}
}

func TestSigningRefusesWhatCannotBeFollowed(t *testing.T) {
	w := newParty(t, "writer")
	for name, change := range map[string]func(*Checkpoint){
		"origin": func(c *Checkpoint) { c.Origin = "a b" },
		"target": func(c *Checkpoint) { c.Target.Start = c.Target.End },
		"time":   func(c *Checkpoint) { c.Time = time.Time{} },
	} {
		c := sample()
		change(&c)
		if _, err := Sign(c, w.signer); err == nil {
			t.Errorf("%s was signed", name)
		}
	}
	if _, err := Sign(sample()); err == nil {
		t.Error("signed by nobody")
	}
}

func FuzzVerify(f *testing.F) {
	a, b := newParty(f, "writer"), newParty(f, "witness")
	valid := sign(f, sample(), a, b)
	f.Add(valid)
	f.Add([]byte(sample().Text()))
	tr := trust(2, a, b)
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := tr.Verify(data, noon); err == nil && s.Checkpoint != sample() {
			t.Fatalf("forged: %q", data)
		}
		if c, err := Parse(string(data)); err == nil && !strings.HasPrefix(string(data), c.Text()) {
			t.Fatalf("two forms of %+v: %q", c, data)
		}
	})
}

func BenchmarkVerifyQuorumOf5(b *testing.B) {
	var parties []party
	for i := range 5 {
		parties = append(parties, newParty(b, fmt.Sprint("witness-", i)))
	}
	signed, tr := sign(b, sample(), parties...), trust(5, parties...)
	for b.Loop() {
		if _, err := tr.Verify(signed, noon); err != nil {
			b.Fatal(err)
		}
	}
}

// noteKey writes a public key under a name.
func noteKey(name string, public []byte) (string, error) {
	return note.NewEd25519VerifierKey(name, public)
}

func TestThePublicKeyFollowsFromThePrivateOne(t *testing.T) {
	private, public, err := GenerateKey("writer")
	if err != nil {
		t.Fatal(err)
	}
	k, err := PublicKey(" " + private + "\n")
	if err != nil || k.String() != public {
		t.Errorf("%v, %v, want %s", k, err, public)
	}
	for _, bad := range []string{"", public, private[:len(private)-4]} {
		if _, err := PublicKey(bad); err == nil || strings.Contains(err.Error(), "PRIVATE+KEY+writer") {
			t.Errorf("of %q: %v", bad, err)
		}
	}
}

func TestSignaturesThatAreWrongSpoilNothing(t *testing.T) {
	a, b, liar := newParty(t, "writer"), newParty(t, "witness"), newParty(t, "liar")
	signed := sign(t, sample(), a)
	// In the name of a trusted key, before that key signs: with its hash, and not by it.
	wrong := sign(t, func() Checkpoint { c := sample(); c.Target.End++; return c }(), b)
	line := wrong[bytes.LastIndex(wrong, []byte("\n\n"))+2:]
	spoiled, err := Cosign(append(bytes.Clone(signed), line...), liar.signer)
	if err != nil {
		t.Fatal(err)
	}
	var q *QuorumError
	if _, err := trust(2, a, b).Verify(spoiled, noon); !errors.As(err, &q) || len(q.Invalid) != 1 || q.Invalid[0] != "witness" || q.Have != 1 {
		t.Errorf("a signature of another checkpoint: %v", err)
	}
	all, err := Merge(spoiled, sign(t, sample(), b))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := trust(2, a, b).Verify(all, noon); err != nil || len(s.Signers) != 2 {
		t.Errorf("signed by both all the same: %+v, %v\n%s", s, err, all)
	}
}
