package verify_test

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/proofsync/proofsync/pkg/document"
	"github.com/proofsync/proofsync/pkg/verify"
)

const saved = `{
  "bytes": "utf8",
  "key": "alice",
  "value": "Engineer",
  "location": 5,
  "root": "eb41f9eda4c6c8fcc486de7dbdd99cf44b63de14b24f026dbdd6e4ace0e98c0a",
  "size": 10,
  "floor": 5,
  "start": 0,
  "proof": {
    "kind": "operation",
    "family": "any",
    "encoding": "variable",
    "root": "eb41f9eda4c6c8fcc486de7dbdd99cf44b63de14b24f026dbdd6e4ace0e98c0a",
    "size": 10,
    "inactive_peaks": 0,
    "location": 5,
    "operations": [
      "0gVhbGljZQhFbmdpbmVlcg"
    ],
    "digests": [
      "6a8f46f47a80f7418111e9304a1fc68e78e5c52318dae41cdb67e29e82172352",
      "9cfbd9e3ad7892fc9333fe5a4274f9a8b5048b055c5a04d424058cde9372b746",
      "099d08c57e9fbb01c6e13c0e9da0711af42f21aa2754f061d1ef9f528ae84fb6",
      "e0edcf05cc070650b004790f424e619510224583bdf007b77e9a432db7da5cd6"
    ],
    "pins": [
      "9cfbd9e3ad7892fc9333fe5a4274f9a8b5048b055c5a04d424058cde9372b746",
      "099d08c57e9fbb01c6e13c0e9da0711af42f21aa2754f061d1ef9f528ae84fb6"
    ]
  }
}`

// The answer to GET /v1/keys/{key}?proof=true, kept in a file or handed on by
// somebody, is checked against a root from elsewhere, of a log whose family and encoding are
// known.
func ExampleEntry() {
	trusted, err := verify.ParseRoot("eb41f9eda4c6c8fcc486de7dbdd99cf44b63de14b24f026dbdd6e4ace0e98c0a", 10, "any", "variable")
	if err != nil {
		fmt.Println(err)
		return
	}
	var answer document.Entry
	if err := json.Unmarshal([]byte(saved), &answer); err != nil {
		fmt.Println(err)
		return
	}
	proven, err := verify.Entry(&answer, trusted)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(proven.Says())
	// Output:
	// operation 5 gives key "alice" the value "Engineer", under root eb41f9eda4c6c8fcc486de7dbdd99cf44b63de14b24f026dbdd6e4ace0e98c0a of 10 operations (any/variable). Not proven: that no later operation changed this key.
}

// An answer that was changed on its way is not proven, and the error says why.
func ExampleError() {
	trusted, err := verify.ParseRoot("eb41f9eda4c6c8fcc486de7dbdd99cf44b63de14b24f026dbdd6e4ace0e98c0a", 10, "any", "variable")
	if err != nil {
		fmt.Println(err)
		return
	}
	var answer document.Entry
	if err := json.Unmarshal([]byte(saved), &answer); err != nil {
		fmt.Println(err)
		return
	}
	*answer.Value = "Owner"

	_, err = verify.Entry(&answer, trusted)
	if refused, ok := errors.AsType[*verify.Error](err); ok {
		fmt.Println(refused.Reason)
	}
	fmt.Println(err)
	// Output:
	// answer
	// not proven: the answer's value is "Owner", operation 5 has "Engineer"
}
