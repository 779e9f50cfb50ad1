package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
)

func TestLogIsReadInPages(t *testing.T) {
	f := newFixture(t, anyVariable)
	for i := range 10 {
		if _, err := f.db.Apply(t.Context(), database.Batch{
			Writes:   []database.Write{{Key: []byte("a"), Value: []byte(fmt.Sprint(i))}, {Key: []byte("b"), Delete: true}},
			Metadata: []byte(fmt.Sprint("meta ", i)),
		}); err != nil {
			t.Fatal(err)
		}
		f.put("b", "")
	}
	v, err := f.db.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	var want []document.Operation
	err = v.Operations(0, v.Size(), func(loc uint64, b []byte) bool {
		op, err := f.db.Codec().Decode(bytes.Clone(b))
		if err != nil {
			t.Fatal(err)
		}
		d := document.Operation{Location: loc, Kind: op.Kind.String()}
		text := func(b []byte) *string { s := string(b); return &s }
		switch op.Kind {
		case operation.Commit:
			d.Floor = &op.Floor
			if op.Value != nil {
				d.Metadata = text(op.Value)
			}
		case operation.Delete:
			d.Key = text(op.Key)
		default:
			d.Key, d.Value = text(op.Key), text(op.Value)
		}
		want = append(want, d)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []document.Operation
	for next := "/v1/operations?bytes=utf8&proof=true&limit=7"; next != ""; {
		page := get[document.Operations](f, next)
		if ops := check(t, page.Proof, page.Head); len(ops) != len(page.Operations) || page.Proof.Location != page.Operations[0].Location {
			t.Fatalf("%d operations proven, %d shown", len(ops), len(page.Operations))
		}
		got = append(got, page.Operations...)
		f.put("c", fmt.Sprint(len(got))) // not on the pages of a state that was begun
		next = page.Next
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if page := get[document.Operations](f, fmt.Sprintf("/v1/operations?start=%d&at_size=%d", v.Size(), v.Size())); len(page.Operations) != 0 || page.Operations == nil || page.Root != v.Root().String() {
		t.Errorf("the end of the log is %+v", page)
	}
}

func TestPageOfTheLogIsCutByBytes(t *testing.T) {
	f := newFixture(t, anyVariable)
	f.put("a", strings.Repeat("x", 3<<20), "b", strings.Repeat("x", 3<<20), "c", "1")
	end := uint64(0)
	for next := "/v1/operations?proof=true"; next != ""; {
		page := get[document.Operations](f, next)
		check(t, page.Proof, page.Head)
		if page.Operations[0].Location != end {
			t.Errorf("page begins at %d, the last one ended at %d", page.Operations[0].Location, end)
		}
		end += uint64(len(page.Operations))
		if next = page.Next; end == page.Size && next != "" || end < page.Size && next == "" {
			t.Errorf("next is %q at %d of %d", next, end, page.Size)
		}
	}
}

func TestCommitsAreListedNewestFirst(t *testing.T) {
	f := newFixture(t, anyVariable)
	want := []document.Commit{}
	for i := range 30 {
		b := database.Batch{Writes: []database.Write{{Key: []byte(fmt.Sprint(i)), Value: []byte("x")}}}
		if i%3 == 0 {
			b.Metadata = []byte{byte(i)}
		}
		changed := f.db.Changed()
		c, err := f.db.Apply(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		<-changed
		f.api.history.saw(c.Root)
		d := document.Commit{Root: c.Root.String(), Size: c.Size, Floor: c.Floor}
		if b.Metadata != nil {
			text := b64(string(b.Metadata))
			d.Metadata = &text
		}
		want = append([]document.Commit{d}, want...)
	}
	got := []document.Commit{}
	for next := "/v1/commits?limit=7"; next != ""; {
		page := get[document.Commits](f, next)
		got = append(got, page.Commits...)
		next = page.Next
	}
	if first := got[len(got)-1]; first.Size != 1 || first.Time != nil {
		t.Errorf("the commit from before is %+v", first)
	}
	got = got[:len(got)-1] // the one that makes a database
	for i := range got {
		if got[i].Time == nil {
			t.Errorf("the commit of size %d has no time", got[i].Size)
		}
		got[i].Time = nil
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if page := get[document.Commits](f, "/v1/commits?before=2"); len(page.Commits) != 1 || page.Next != "" {
		t.Errorf("%+v", page)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	h := newHistory()
	var first mmr.Digest
	when := h.saw(first)
	if again := h.saw(first); !again.Equal(when) {
		t.Errorf("seen at %v, then at %v", when, again)
	}
	for i := range maxHistory + 10 {
		h.saw(mmr.HashLeaf(uint64(i), nil))
	}
	if len(h.times) != maxHistory || len(h.ring) != maxHistory {
		t.Errorf("%d times, ring of %d", len(h.times), len(h.ring))
	}
	if _, ok := h.at(first); ok {
		t.Error("the oldest was kept")
	}
	if _, ok := h.at(mmr.HashLeaf(maxHistory+9, nil)); !ok {
		t.Error("the newest was not kept")
	}
}

func TestPrunedLogSaysGone(t *testing.T) {
	server := newFixture(t, anyVariable)
	var sizes []uint64
	for i := range 20 {
		sizes = append(sizes, server.put("a", fmt.Sprint(i), "b", fmt.Sprint(i)).Size)
	}
	replica := replicate(t, server.db, nil)
	f := fixtureOf(t, replica)
	head := get[document.Page](f, "/v1/keys").Head
	if head.Start == 0 {
		t.Fatal("nothing was pruned")
	}
	if want := get[document.Page](server, "/v1/keys").Head; head.Root != want.Root {
		t.Fatalf("replica at %s, server at %s", head.Root, want.Root)
	}
	e := get[document.Entry](f, "/v1/keys/YQ?proof=true")
	check(t, e.Proof, *e.Head)
	for _, target := range []string{"/v1/operations?start=0", fmt.Sprintf("/v1/keys?at_size=%d", sizes[3]), fmt.Sprintf("/v1/commits?before=%d", head.Start), "/v1/operations?at_size=1"} {
		if p := f.problem(document.CodeGone, "GET", target); p.Head == nil || p.Root != head.Root {
			t.Errorf("%s: %+v", target, p)
		}
	}
	if page := get[document.Operations](f, "/v1/operations?proof=true"); page.Operations[0].Location != head.Start {
		t.Errorf("the log begins with %+v", page.Operations[0])
	} else {
		check(t, page.Proof, page.Head)
	}
}

// What is written by hand is what encoding/json makes of the same document.
func TestHandWrittenJSONIsThatOfTheDocuments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		form := rapid.SampledFrom([]document.Bytes{document.Base64URL, document.Hex, document.UTF8}).Draw(t, "form")
		bytesOf := func(name string) []byte {
			if form == document.UTF8 {
				return []byte(rapid.StringOf(rapid.OneOf(rapid.Rune(), rapid.SampledFrom([]rune("\x00\x1f\"\\\n\r\t\b\u2028<&\ufffd")))).Draw(t, name))
			}
			return rapid.SliceOf(rapid.Byte()).Draw(t, name)
		}
		text := func(b []byte) *string {
			s, err := form.Encode(b)
			if err != nil {
				t.Fatal(err)
			}
			return &s
		}
		h := &head{Head: document.Head{Root: strings.Repeat("ab", 32), Size: rapid.Uint64().Draw(t, "size"), Floor: 3, Start: rapid.Uint64().Draw(t, "start")}}
		key, value, loc := bytesOf("key"), bytesOf("value"), rapid.Uint64().Draw(t, "location")

		got, err := appendKeyed(append(appendOpening(nil, form), ','), form, key, value, loc)
		if err != nil {
			t.Fatal(err)
		}
		got = append(appendHead(got, h), '}')
		same(t, got, document.Entry{Bytes: form, Key: *text(key), Value: text(value), Location: loc, Head: &h.Head})

		for _, op := range []operation.Operation{
			{Kind: operation.Update, Key: key, Value: value}, {Kind: operation.Set, Key: key, Value: value}, {Kind: operation.Delete, Key: key},
			{Kind: operation.Commit, Floor: loc}, {Kind: operation.Commit, Floor: loc, Value: value},
		} {
			got, err := appendOperation(nil, form, loc, op)
			if err != nil {
				t.Fatal(err)
			}
			want := document.Operation{Location: loc, Kind: op.Kind.String()}
			switch op.Kind {
			case operation.Commit:
				want.Floor = &op.Floor
				if op.Value != nil {
					want.Metadata = text(op.Value)
				}
			case operation.Delete:
				want.Key = text(key)
			default:
				want.Key, want.Value = text(key), text(value)
			}
			same(t, got, want)
		}
	})
}

func TestHandWrittenProofIsThatOfTheDocument(t *testing.T) {
	raw, err := anyFixed.Append(nil, operation.Operation{Kind: operation.Commit, Floor: 1})
	if err != nil {
		t.Fatal(err)
	}
	run, err := anyFixed.NewRun(append(raw, raw...))
	if err != nil {
		t.Fatal(err)
	}
	op, _ := document.Base64URL.Encode(raw)
	h := &head{Head: document.Head{Root: "00ff", Size: 9}}
	d := []mmr.Digest{{1}, {2}}
	want := document.Proof{
		Kind: document.ProofOperation, Family: "any", Encoding: "fixed", Root: "00ff", Size: 9, InactivePeaks: 2, Location: 5,
		Operations: []string{op, op}, Digests: []string{d[0].String(), d[1].String()}, Pins: []string{},
	}
	same(t, appendProof(nil, &proved{codec: anyFixed, head: h, start: 5, run: run, proof: mmr.Proof{InactivePeaks: 2, Digests: d}}), want)
}

// same compares JSON by what it says.
func same(t interface{ Fatalf(string, ...any) }, got []byte, doc any) {
	want, err := json.Marshal(doc)
	if err != nil {
		t.Fatalf("%v", err)
	}
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatalf("%v in %s", err, got)
	}
	if err := json.Unmarshal(want, &w); err != nil {
		t.Fatalf("%v", err)
	}
	if !reflect.DeepEqual(g, w) {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

// replicate copies the newest state of a database into a replica, from its
// floor on: into one that is made, or as a new generation.
func replicate(t testing.TB, from, to *database.DB) *database.DB {
	t.Helper()
	if to == nil {
		to = emptyReplica(t, from.Codec())
	}
	if err := copyState(from, to); err != nil {
		t.Fatal(err)
	}
	return to
}

func copyState(from, to *database.DB) error {
	v, err := from.View()
	if err != nil {
		return err
	}
	defer v.Close()
	pins, err := v.Pins(v.Floor())
	if err != nil {
		return err
	}
	l, err := to.Stage(v.Floor(), pins)
	if err != nil {
		return err
	}
	defer l.Close()
	raw, n, err := v.AppendOperations(nil, v.Floor(), v.Size(), 1<<30)
	if err != nil {
		return err
	}
	run, _, err := from.Codec().Split(raw, n)
	if err != nil {
		return err
	}
	if err := l.Append(mmr.HashSpan(v.Floor(), run), run); err != nil {
		return err
	}
	_, err = l.Publish(v.Root(), v.Size())
	return err
}

func TestTimesAreKnownOfWhatTheProcessSaw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, anyVariable)
		before := f.put("a", "1").Root
		synctest.Wait()
		h := newHistory()
		ctx, cancel := context.WithCancel(t.Context())
		go h.run(ctx, f.db)
		synctest.Wait()
		if when, ok := h.at(before); ok {
			t.Errorf("what was there at the beginning is from %v", when)
		}
		time.Sleep(time.Hour)
		after := f.put("a", "2").Root
		synctest.Wait()
		if when, ok := h.at(after); !ok || !when.Equal(time.Now()) {
			t.Errorf("seen at %v, %v; it is %v", when, ok, time.Now())
		}
		cancel()
		if err := f.api.Shutdown(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
		_ = f.db.Close()
	})
}
