package api

import (
	"fmt"
	"testing"

	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/verify"
)

// What is answered is what the verifying library takes, in every form, now and
// at earlier states, and nothing else.
func TestAnswersSatisfyTheVerifyingLibrary(t *testing.T) {
	f := newFixture(t, anyFixed)
	first := f.put(key32(1), key32(2), key32(3), key32(4))
	f.put(key32(1), key32(5))
	for _, form := range []document.Bytes{document.Base64URL, document.Hex, document.UTF8} {
		key, err := form.Encode([]byte(key32(1)))
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []string{"", fmt.Sprintf("&at_size=%d", first.Size)} {
			e := get[document.Entry](f, fmt.Sprintf("/v1/keys/%s?proof=true&bytes=%s%s", key, form, at))
			o := get[document.Operations](f, fmt.Sprintf("/v1/operations?proof=true&bytes=%s%s", form, at))
			trusted, err := verify.ParseRoot(e.Root, e.Size, "any", "fixed")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := verify.Entry(&e, trusted); err != nil {
				t.Errorf("%s%s: %v", form, at, err)
			}
			if _, err := verify.Operations(&o, trusted); err != nil {
				t.Errorf("%s%s: %v", form, at, err)
			}
			trusted.Root[0]++
			if _, err := verify.Entry(&e, trusted); err == nil {
				t.Error("believed under another root")
			}
		}
	}
}
