package verify_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/mmr"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/verify"
)

func TestAnswersOfRealDatabasesAreProven(t *testing.T) {
	for _, codec := range codecs {
		for _, size := range []uint64{1, 2, 7, 40, 255, 256, 300} {
			t.Run(fmt.Sprintf("%s %d", codec, size), func(t *testing.T) {
				v, _ := grown(t, codec, size, size)
				trusted := trustIn(v)
				for _, form := range []document.Bytes{"", document.Base64URL, document.Hex} {
					err := v.Scan(nil, nil, func(key []byte, e database.Entry) bool {
						got, err := verify.Entry(entryOf(t, v, key, form), trusted)
						ok(t, err)
						op := got.Operations[0]
						if got.Location != e.Location || !bytes.Equal(op.Key, key) || !bytes.Equal(op.Value, e.Value) || got.Root != trusted || got.Codec != codec {
							t.Fatalf("key %x: proven is %+v", key, got)
						}
						return true
					})
					ok(t, err)
				}
				for start := uint64(0); start < v.Size(); start += 13 {
					for _, n := range []uint64{1, 2, 5, 64, v.Size() - start} {
						end := min(start+n, v.Size())
						got, err := verify.Operations(operationsOf(t, v, start, end, document.Hex), trusted)
						ok(t, err)
						if got.Location != start || uint64(len(got.Operations)) != end-start {
							t.Fatalf("[%d, %d): proven are %d from %d on", start, end, len(got.Operations), got.Location)
						}
					}
				}
			})
		}
	}
}

// reason is that of an error which must be one of the package's.
func reason(t fataler, err error) verify.Reason {
	t.Helper()
	var e *verify.Error
	if !errors.As(err, &e) || !errors.Is(err, verify.ErrProof) {
		t.Fatal(fmt.Sprintf("not an *Error that matches ErrProof: %v", err))
	}
	return e.Reason
}

// clone copies a document so that it can be spoilt.
func clone[T any](t fataler, v *T) *T {
	t.Helper()
	b, err := json.Marshal(v)
	ok(t, err)
	c := new(T)
	ok(t, json.Unmarshal(b, c))
	return c
}

func TestSpoiltEntriesAreRefusedWithTheirReason(t *testing.T) {
	v, key := grown(t, operation.NewCodec(operation.Any, operation.Variable), 120, 1)
	trusted := trustIn(v)
	entry := entryOf(t, v, key, document.Hex)
	if len(entry.Proof.Digests) < 3 {
		t.Fatal("the proof is too small to be spoilt")
	}
	other, _ := grown(t, operation.NewCodec(operation.Any, operation.Variable), 60, 2)
	for name, tc := range map[string]struct {
		spoil func(*document.Entry)
		want  verify.Reason
		say   string
	}{
		"no proof":             {func(e *document.Entry) { e.Proof = nil }, verify.ReasonMissing, "?proof=true"},
		"another kind":         {func(e *document.Entry) { e.Proof.Kind = "current" }, verify.ReasonUnsupported, `"current"`},
		"keyless":              {func(e *document.Entry) { e.Proof.Family = "keyless" }, verify.ReasonUnsupported, "keyless"},
		"another encoding":     {func(e *document.Entry) { e.Proof.Encoding = "cbor" }, verify.ReasonUnsupported, "cbor"},
		"encoding fixed":       {func(e *document.Entry) { e.Proof.Encoding = "fixed" }, verify.ReasonAnswer, "of any/fixed, the trusted log is any/variable"},
		"family immutable":     {func(e *document.Entry) { e.Proof.Family = "immutable" }, verify.ReasonAnswer, "of immutable/variable, the trusted log is any/variable"},
		"operation cut off":    {func(e *document.Entry) { e.Proof.Operations[0] = "0g" }, verify.ReasonMalformed, "operation at location"},
		"value":                {func(e *document.Entry) { *e.Value = "00" }, verify.ReasonAnswer, "value"},
		"key":                  {func(e *document.Entry) { e.Key = "00" }, verify.ReasonAnswer, "key"},
		"form of bytes":        {func(e *document.Entry) { e.Bytes = "base32" }, verify.ReasonMalformed, "base32"},
		"text of key":          {func(e *document.Entry) { e.Key = "x" }, verify.ReasonMalformed, "hexadecimal"},
		"location of entry":    {func(e *document.Entry) { e.Location++ }, verify.ReasonAnswer, "location"},
		"location of proof":    {func(e *document.Entry) { e.Proof.Location--; e.Location-- }, verify.ReasonDigests, ""},
		"location too far":     {func(e *document.Entry) { e.Proof.Location = 1<<64 - 1 }, verify.ReasonMalformed, "do not fit"},
		"size of head":         {func(e *document.Entry) { e.Size++ }, verify.ReasonRoot, "the answer is about"},
		"size of proof":        {func(e *document.Entry) { e.Proof.Size++ }, verify.ReasonRoot, "the proof is about"},
		"root of head":         {func(e *document.Entry) { e.Root = other.Root().String() }, verify.ReasonRoot, other.Root().String()},
		"root of proof":        {func(e *document.Entry) { e.Proof.Root = other.Root().String() }, verify.ReasonRoot, ""},
		"root of both":         {func(e *document.Entry) { *e.Head = headOf(other); e.Proof.Root, e.Proof.Size = e.Root, e.Size }, verify.ReasonRoot, ""},
		"root is no root":      {func(e *document.Entry) { e.Proof.Root = "abc" }, verify.ReasonMalformed, "64 hexadecimal digits"},
		"floor":                {func(e *document.Entry) { e.Floor = e.Size }, verify.ReasonAnswer, "floor"},
		"floor beyond":         {func(e *document.Entry) { e.Floor = 1 << 63 }, verify.ReasonAnswer, "floor"},
		"inactive peaks":       {func(e *document.Entry) { e.Proof.InactivePeaks = 1 << 63; e.Head = nil }, verify.ReasonDigests, "inactive"},
		"one peak more":        {func(e *document.Entry) { e.Proof.InactivePeaks++; e.Head = nil }, verify.ReasonDigests, ""},
		"a digest":             {func(e *document.Entry) { e.Proof.Digests[1] = e.Proof.Digests[0] }, verify.ReasonDigests, "root mismatch"},
		"a digest less":        {func(e *document.Entry) { e.Proof.Digests = e.Proof.Digests[1:] }, verify.ReasonDigests, "exactly"},
		"a digest more":        {func(e *document.Entry) { e.Proof.Digests = append(e.Proof.Digests, e.Root) }, verify.ReasonDigests, "exactly"},
		"a digest is none":     {func(e *document.Entry) { e.Proof.Digests[0] = "" }, verify.ReasonMalformed, "digest 0"},
		"a pin":                {func(e *document.Entry) { e.Proof.Pins[0] = e.Root }, verify.ReasonDigests, "pinned nodes"},
		"a pin is none":        {func(e *document.Entry) { e.Proof.Pins[0] = "zz" }, verify.ReasonMalformed, "pinned node 0"},
		"a pin more":           {func(e *document.Entry) { e.Proof.Pins = append(e.Proof.Pins, e.Root) }, verify.ReasonDigests, "pinned nodes"},
		"no operation":         {func(e *document.Entry) { e.Proof.Operations = nil }, verify.ReasonMalformed, "no operations"},
		"operation is no text": {func(e *document.Entry) { e.Proof.Operations[0] = "=" }, verify.ReasonMalformed, "base64url"},
		"operation too long": {func(e *document.Entry) {
			e.Proof.Operations[0] = strings.Repeat("A", 6<<20)
		}, verify.ReasonMalformed, "characters"},
		"a million digests that are none": {func(e *document.Entry) {
			e.Proof.Digests = make([]string, 1<<20)
		}, verify.ReasonDigests, "exactly"},
		"too many operations": {func(e *document.Entry) {
			e.Proof.Operations = slices.Repeat(e.Proof.Operations, verify.MaxOperations+1)
		}, verify.ReasonMalformed, "at most 10000"},
		"value too long": {func(e *document.Entry) {
			e.Value = new(strings.Repeat("0", 9<<20))
		}, verify.ReasonMalformed, "characters"},
		"two operations": {func(e *document.Entry) {
			e.Proof = proofOf(t, v, e.Location, e.Location+2)
		}, verify.ReasonAnswer, "an entry is one"},
		"a commit": {func(e *document.Entry) {
			e.Location, e.Proof = v.Size()-1, proofOf(t, v, v.Size()-1, v.Size())
		}, verify.ReasonAnswer, "is a commit"},
	} {
		t.Run(name, func(t *testing.T) {
			e := clone(t, entry)
			tc.spoil(e)
			got, err := verify.Entry(e, trusted)
			if err == nil {
				t.Fatalf("proven: %s", got.Says())
			}
			if r := reason(t, err); r != tc.want || !strings.Contains(err.Error(), tc.say) {
				t.Errorf("got %s: %v, want %s: …%s…", r, err, tc.want, tc.say)
			}
		})
	}
	if _, err := verify.Entry(nil, trusted); reason(t, err) != verify.ReasonMissing {
		t.Error(err)
	}
	_, err := verify.Entry(&document.Entry{Proof: &document.Proof{Kind: "current"}}, trusted)
	if u := new(verify.UnsupportedError); !errors.As(err, &u) || u.Kind != "current" {
		t.Errorf("no *UnsupportedError: %v", err)
	}
	bad := clone(t, entry)
	bad.Proof.Digests[0] = strings.Repeat("0", 64)
	if _, err := verify.Entry(bad, trusted); !errors.Is(err, mmr.ErrProof) {
		t.Errorf("the cause is lost: %v", err)
	}
}

// A history may hold two values of a key. Both are proven, because a proof of
// this kind does not say which is the newest; the words have to tell.
func TestAnOlderValueIsProvenAndTheWordsSaySo(t *testing.T) {
	v, _ := grown(t, operation.NewCodec(operation.Any, operation.Fixed), 200, 3)
	seen := map[string]int{}
	for loc := range v.Size() {
		p, err := verify.Proof(proofOf(t, v, loc, loc+1), trustIn(v))
		ok(t, err)
		if p.Operations[0].Kind == operation.Update {
			seen[string(p.Operations[0].Key)]++
			if !strings.Contains(p.Says(), "Not proven: that no later operation changed this key") {
				t.Fatal(p.Says())
			}
		}
	}
	for _, n := range seen {
		if n > 1 {
			return
		}
	}
	t.Fatal("no key was written twice: the test tests nothing")
}

func TestAnEntryWithoutValueOrHeadOrPinsIsChecked(t *testing.T) {
	v, key := grown(t, operation.NewCodec(operation.Immutable, operation.Fixed), 100, 4)
	e := entryOf(t, v, key, document.Base64URL)
	value := *e.Value
	e.Value, e.Head, e.Proof.Pins = nil, nil, nil
	p, err := verify.Entry(e, trustIn(v))
	ok(t, err)
	if got, _ := document.Base64URL.Encode(p.Operations[0].Value); got != value {
		t.Errorf("the value proven is %s, want %s", got, value)
	}
}

func TestSpoiltListingsAreRefused(t *testing.T) {
	v, _ := grown(t, operation.NewCodec(operation.Any, operation.Variable), 150, 5)
	listing := operationsOf(t, v, v.Size()-20, v.Size(), document.Base64URL)
	last := len(listing.Operations) - 1
	var update int
	for i, o := range listing.Operations {
		if o.Kind == "update" {
			update = i
		}
	}
	for name, spoil := range map[string]func(*document.Operations){
		"one left out":        func(o *document.Operations) { o.Operations = slices.Delete(o.Operations, 3, 4) },
		"one more":            func(o *document.Operations) { o.Operations = append(o.Operations, o.Operations[0]) },
		"two exchanged":       func(o *document.Operations) { o.Operations[3], o.Operations[4] = o.Operations[4], o.Operations[3] },
		"a location":          func(o *document.Operations) { o.Operations[2].Location = 0 },
		"a kind":              func(o *document.Operations) { o.Operations[update].Kind = "delete" },
		"a key":               func(o *document.Operations) { o.Operations[update].Key = new("") },
		"no key":              func(o *document.Operations) { o.Operations[update].Key = nil },
		"a value":             func(o *document.Operations) { o.Operations[update].Value = new("") },
		"no value":            func(o *document.Operations) { o.Operations[update].Value = nil },
		"a floor":             func(o *document.Operations) { *o.Operations[last].Floor++ },
		"no floor":            func(o *document.Operations) { o.Operations[last].Floor = nil },
		"a floor too many":    func(o *document.Operations) { o.Operations[update].Floor = new(uint64) },
		"a metadata too many": func(o *document.Operations) { o.Operations[update].Metadata = new("") },
		"a value of a commit": func(o *document.Operations) { o.Operations[last].Value = new("") },
		"a key of a commit":   func(o *document.Operations) { o.Operations[last].Key = new("") },
		"form of bytes":       func(o *document.Operations) { o.Bytes = "utf16" },
		"a size":              func(o *document.Operations) { o.Size-- },
		"no proof":            func(o *document.Operations) { o.Proof = nil },
	} {
		o := clone(t, listing)
		spoil(o)
		got, err := verify.Operations(o, trustIn(v))
		if err == nil {
			t.Errorf("%s: proven: %s", name, got.Says())
			continue
		}
		reason(t, err)
	}
	_, err := verify.Operations(listing, trustIn(v))
	ok(t, err)
}

// Whatever happens to a proof: it is refused, or says what it said before.
func TestMutatedProofsDoNotProveAnythingElse(t *testing.T) {
	type state struct {
		trusted verify.Root
		says    string
		listing *document.Operations
	}
	var states []state
	for i, codec := range codecs {
		v, _ := grown(t, codec, 90, uint64(10+i))
		o := operationsOf(t, v, 30, 36, document.Hex)
		p, err := verify.Operations(o, trustIn(v))
		ok(t, err)
		states = append(states, state{trustIn(v), fmt.Sprint(*p), o})
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom(states).Draw(t, "state")
		b, err := json.Marshal(s.listing.Proof)
		ok(t, err)
		for range rapid.IntRange(1, 3).Draw(t, "mutations") {
			i := rapid.IntRange(0, len(b)-1).Draw(t, "at")
			switch rapid.IntRange(0, 2).Draw(t, "how") {
			case 0:
				b[i] = rapid.SampledFrom([]byte("0123456789abcdefABCDEF-_,")).Draw(t, "byte")
			case 1:
				b = slices.Delete(b, i, i+1)
			case 2:
				j := rapid.IntRange(0, len(b)-1).Draw(t, "with")
				b[i], b[j] = b[j], b[i]
			}
		}
		var p document.Proof
		if json.Unmarshal(b, &p) != nil {
			return
		}
		if got, err := verify.Proof(&p, s.trusted); err == nil && fmt.Sprint(*got) != s.says {
			t.Fatalf("%s\nproves %s", b, got.Says())
		} else if err != nil {
			reason(t, err)
		}
	})
}

func TestTrustedRootsAreRead(t *testing.T) {
	root := strings.Repeat("ab", 32)
	r, err := verify.ParseRoot(root, 7, "any", "fixed")
	ok(t, err)
	if r.String() != "root "+root+" of 7 operations" {
		t.Error(r)
	}
	for _, tc := range []struct {
		root             string
		size             uint64
		family, encoding string
	}{
		{root, 0, "any", "fixed"},
		{root, 1<<62 + 1, "any", "fixed"},
		{root[1:], 7, "any", "fixed"},
		{strings.Repeat("g", 64), 7, "any", "fixed"},
		{root, 7, "", ""},
		{root, 7, "any", ""},
		{root, 7, "", "fixed"},
		{root, 7, "keyless", "fixed"},
		{root, 7, "fixed", "any"},
	} {
		_, err := verify.ParseRoot(tc.root, tc.size, tc.family, tc.encoding)
		if err == nil || errors.Is(err, verify.ErrProof) {
			t.Errorf("%v: %v", tc, err)
		}
	}
}

func TestWordsNameWhatIsProven(t *testing.T) {
	root := verify.Root{Size: 9}
	one := func(op operation.Operation, loc uint64) verify.Proven {
		return verify.Proven{Location: loc, Operations: []operation.Operation{op}, Root: root}
	}
	long := bytes.Repeat([]byte("x"), 5000)
	for _, tc := range []struct {
		p    verify.Proven
		want string
	}{
		{one(operation.Operation{Kind: operation.Set, Key: []byte("a"), Value: []byte{}}, 4), `operation 4 gives key "a" the value "", under root`},
		{one(operation.Operation{Kind: operation.Update, Key: []byte{0, 1}, Value: long}, 4), `gives key 0001 the value "` + strings.Repeat("x", 64) + `"… (5000 bytes), under`},
		{one(operation.Operation{Kind: operation.Delete, Key: []byte("a")}, 4), `operation 4 deletes key "a", under root`},
		{one(operation.Operation{Kind: operation.Commit, Floor: 3}, 8), `is a commit with floor 3, under root ` + strings.Repeat("0", 64) + ` of 9 operations (any/fixed). Nothing comes after it`},
		{one(operation.Operation{Kind: operation.Commit, Value: []byte{255}}, 4), `and metadata ff, under`},
		{verify.Proven{Location: 2, Operations: make([]operation.Operation, 3), Root: root}, `the 3 operations from location 2 to 4 are these, none left out between them, under`},
	} {
		if got := tc.p.Says(); !strings.Contains(got, tc.want) {
			t.Errorf("got  %s\nwant …%s…", got, tc.want)
		}
	}
}
