// Package browser opens the status page in a real Chromium, as people do: over
// plain http by name, with and without scripts, in the dark, on a phone, with a
// keyboard only, and with somebody in between who changes the answers.
//
//	database --> pkg/api, pkg/page --> tamperer --> Chromium, driven by chromedp
//
// The part of the page that checks proofs is held here against proofs of real
// databases of many sizes, with both of its hash functions.
//
// Without Chromium the tests skip; with BROWSER=required they fail instead. The
// program is looked for in PATH, or where CHROMIUM says:
//
//	apt-get install chromium
//	BROWSER=required go test ./test/browser
//	UPDATE_SCREENSHOTS=1 go test ./test/browser -run Screenshots
package browser
