package document

import (
	"bytes"
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

func TestByteStringsHaveOneText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.SampledFrom([]Bytes{Base64URL, Hex, UTF8}).Draw(t, "form")
		b := rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		s, err := f.Encode(b)
		if (err != nil) != (f.Check(b) != nil) {
			t.Fatalf("Encode says %v, Check %v", err, f.Check(b))
		}
		if err != nil {
			return
		}
		back, err := f.Decode(s)
		if err != nil || !bytes.Equal(back, b) || back == nil {
			t.Fatalf("%s: %x became %q became %x, %v", f, b, s, back, err)
		}
	})
	for _, x := range []struct {
		form Bytes
		text string
	}{{Base64URL, "YQ=="}, {Base64URL, "YR"}, {Base64URL, "Y\nQ"}, {Base64URL, "+/+/"}, {Base64URL, "a"}, {Hex, "0"}, {Hex, "zz"}, {UTF8, "\xff"}} {
		if b, err := x.form.Decode(x.text); err == nil {
			t.Errorf("%s: %q became %x", x.form, x.text, b)
		}
	}
	if _, err := ParseBytes("base32"); err == nil {
		t.Error("base32 was accepted")
	}
}

func TestProblemsNameTheirState(t *testing.T) {
	p := NewProblem(CodeKeyNotFound, "no %s", "value")
	p.Head = &Head{Root: "ab", Size: 3}
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"type":"urn:proofsync:problem:key_not_found","title":"Not Found","status":404,"detail":"no value","code":"key_not_found","root":"ab","size":3,"floor":0,"start":0}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	for c, s := range Codes() {
		if s < 400 || s > 599 {
			t.Errorf("%s has status %d", c, s)
		}
	}
}
