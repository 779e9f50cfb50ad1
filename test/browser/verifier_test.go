package browser

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/operation"
	"github.com/proofsync/proofsync/pkg/verify"
)

// state is what a script of the page is to check: the proofs of ranges of one
// database at one size, and what they are to say.
type state struct {
	Root, Family, Encoding string
	Size                   uint64
	Proofs                 []json.RawMessage
	Entries                []entry
	Spoilt                 []json.RawMessage // must be refused
}

type entry struct {
	Key    []byte // base64 in JSON
	Answer json.RawMessage
}

// states asks the API of a growing database for proofs, as many sizes as said.
func states(t testing.TB, c operation.Codec, sizes int) (list []state) {
	s := serve(t, c, nil)
	random := rand.New(rand.NewPCG(1, uint64(sizes)))
	for i := range sizes {
		if i > 0 {
			s.grow(random, i)
		}
		st := state{Family: c.Family().String(), Encoding: c.Encoding().String()}
		size := getJSON[document.Status](t, s, "/v1/status").Head.Size
		for range 4 {
			start := random.Uint64N(size)
			n := 1 + random.Uint64N(min(size-start, 70))
			answer := getJSON[document.Operations](t, s, fmt.Sprintf("/v1/operations?start=%d&limit=%d&proof=true", start, n))
			st.Root, st.Size = answer.Root, answer.Size
			// What the scripts are held to is itself held to pkg/verify.
			trusted, err := verify.ParseRoot(answer.Root, answer.Size, c.Family().String(), c.Encoding().String())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := verify.Operations(answer, trusted); err != nil {
				t.Fatal(err)
			}
			st.Proofs = append(st.Proofs, marshal(t, answer.Proof))
			for range 3 {
				if p := spoil(random, *answer.Proof); p != nil {
					if proven, err := verify.Proof(p, trusted); err == nil {
						t.Fatalf("proven although spoilt: %s", proven.Says())
					}
					st.Spoilt = append(st.Spoilt, marshal(t, p))
				}
			}
		}
		for _, e := range getJSON[document.Page](t, s, "/v1/keys?limit=3").Keys {
			key, err := document.Base64URL.Decode(e.Key)
			if err != nil {
				t.Fatal(err)
			}
			st.Entries = append(st.Entries, entry{key, marshal(t, getJSON[document.Entry](t, s, "/v1/keys/"+e.Key+"?proof=true"))})
		}
		list = append(list, st)
	}
	return list
}

// spoil changes something about a proof; nil: there was nothing to change.
func spoil(random *rand.Rand, p document.Proof) *document.Proof {
	p.Digests, p.Operations, p.Pins = append([]string{}, p.Digests...), append([]string{}, p.Operations...), append([]string{}, p.Pins...)
	flip := func(list []string) bool {
		if len(list) == 0 {
			return false
		}
		i := random.IntN(len(list))
		b := []byte(list[i])
		at := random.IntN(max(1, len(b)-1)) // the last character of base64 may have unused bits
		b[at] = "0123456789abcdef"[random.IntN(16)]
		changed := string(b) != list[i]
		list[i] = string(b)
		return changed
	}
	switch random.IntN(7) {
	case 0:
		p.Location++
	case 1:
		p.InactivePeaks++
	case 2:
		p.Digests = append(p.Digests, p.Root)
	case 3:
		if !flip(p.Operations) {
			return nil
		}
	case 4:
		if !flip(p.Pins) {
			return nil
		}
	default:
		if !flip(p.Digests) {
			return nil
		}
	}
	return &p
}

func marshal(t testing.TB, v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The page's verifier agrees with ours on proofs of databases of every family
// and encoding at many sizes, with the browser's hash and with its own, and
// the two hash functions agree on inputs of every length.
func TestVerifierInTheBrowserAgreesWithOurs(t *testing.T) {
	chromium(t) // before the work
	var all []state
	for _, c := range []operation.Codec{anyFixed, anyVariable, immutableFix, immutableVar} {
		all = append(all, states(t, c, 24)...)
	}
	sizes := map[uint64]bool{}
	for _, st := range all {
		sizes[st.Size] = true
	}
	if !sizes[1] || len(sizes) < 40 {
		t.Fatalf("only %d sizes are tested", len(sizes))
	}
	s := serve(t, anyVariable, nil)
	s.extra.HandleFunc("/states.json", func(w http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(w).Encode(all); err != nil {
			t.Error(err)
		}
	})
	b := open(t, s.near(), look{})
	b.started()
	for _, complaint := range eval[[]string](b, verifierScript) {
		t.Error(complaint)
	}
	b.quiet()
}

const verifierScript = `(async () => {
	const { verifyProof, verifyEntry, Refused } = await import("/page/verify.js");
	const { plain, webCrypto } = await import("/page/sha256.js");
	const { equal, fromBase64URL, toBase64URL, fromHex, toHex } = await import("/page/bytes.js");
	const wrong = [];
	if (!webCrypto) wrong.push("there is no WebCrypto to compare with");

	for (const length of [...Array(260).keys(), 1023, 4096, 65_535, 1 << 20]) {
		const bytes = new Uint8Array(length);
		crypto.getRandomValues(bytes.subarray(0, 65_536));
		if (!equal(plain(bytes), await webCrypto(bytes))) wrong.push("SHA-256 of " + length + " bytes");
		if (length < 5000 && (!equal(fromBase64URL(toBase64URL(bytes)), bytes) || !equal(fromHex(toHex(bytes)), bytes))) wrong.push("text of " + length + " bytes");
	}

	const states = await (await fetch("/states.json")).json();
	let proven = 0, refused = 0;
	for (const s of states) {
		const trusted = { root: s.Root, size: s.Size, family: s.Family, encoding: s.Encoding };
		const name = s.Family + "/" + s.Encoding + " " + s.Size;
		for (const hash of [plain, webCrypto]) {
			for (const p of s.Proofs) {
				try {
					const got = await verifyProof(p, trusted, hash);
					if (got.operations.length !== p.operations.length || got.root !== s.Root) wrong.push(name + ": another result");
					proven++;
				} catch (err) {
					wrong.push(name + ", location " + p.location + ", " + p.operations.length + " operations: " + err.stack);
				}
			}
			for (const e of s.Entries ?? []) {
				try {
					await verifyEntry(e.Answer, Uint8Array.from(atob(e.Key), (c) => c.charCodeAt(0)), trusted, hash);
					proven++;
				} catch (err) {
					wrong.push(name + ", entry " + e.Answer.key + ": " + err.stack);
				}
			}
		}
		for (const p of s.Spoilt ?? []) {
			try {
				await verifyProof(p, trusted);
				wrong.push(name + ": proven although spoilt: " + JSON.stringify(p));
			} catch (err) {
				if (!(err instanceof Refused)) wrong.push(name + ": " + err.stack);
				refused++;
			}
		}
	}
	if (proven < 1000 || refused < 400) wrong.push("only " + proven + " proven, " + refused + " refused");
	return wrong.slice(0, 10);
})()`

// client is for questions without a browser.
var client = http.Client{Timeout: patience}

// getJSON asks the API without a browser.
func getJSON[T any](t testing.TB, s *site, path string) *T {
	t.Helper()
	r, err := client.Get("http://127.0.0.1:" + s.port + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	v := new(T)
	if err := json.NewDecoder(r.Body).Decode(v); err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d, %v", path, r.StatusCode, err)
	}
	return v
}

// grow applies a random batch: the n-th of the database.
func (s *site) grow(random *rand.Rand, n int) {
	s.t.Helper()
	var b batch
	for i := range random.IntN(24) {
		key := s.item("key %d", random.IntN(40))
		if s.db.Codec().Family() == operation.Immutable {
			key = s.item("key %d-%d", n, i)
		}
		b.put(key, s.item("value %d-%d", n, i))
		if s.db.Codec().Family() == operation.Any && random.IntN(5) == 0 {
			b.delete(key)
		}
	}
	if s.db.Codec().Family() == operation.Immutable && random.IntN(2) == 0 {
		v, err := s.db.View()
		if err != nil {
			s.t.Fatal(err)
		}
		floor := v.Floor() + random.Uint64N(v.Size()-v.Floor())
		v.Close()
		b.Floor = &floor
	}
	if random.IntN(3) == 0 {
		b.Metadata = []byte(s.item("commit %d", n))
	}
	if _, err := s.db.Apply(s.t.Context(), b.Batch); err != nil {
		s.t.Fatal(err)
	}
}

// batch is a database's, with shorter words.
type batch struct{ database.Batch }

func (b *batch) put(key, value string) {
	b.Writes = append(b.Writes, database.Write{Key: []byte(key), Value: []byte(value)})
}

func (b *batch) delete(key string) {
	b.Writes = append(b.Writes, database.Write{Key: []byte(key), Delete: true})
}
