package browser

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/proofsync/proofsync/pkg/document"
)

func TestPageLoadsAndFollowsCommits(t *testing.T) {
	s := serve(t, anyVariable, nil)
	s.fill(12)
	b := open(t, s.near(), look{})
	b.started()
	if got := b.text("#state-words"); got != "Serving" {
		t.Errorf("the state is %q", got)
	}
	// The status says no root any more: what is new is in the events.
	silent := func(path string, answer map[string]any) {
		if path == "/v1/status" {
			delete(answer, "head")
		}
	}
	s.tamper.Store(&silent)
	for range 2 {
		c := s.put("colour", "green")
		b.until("the new root", fmt.Sprintf(`document.getElementById("root").textContent === %q`, c.Root))
		b.until("the new commit", fmt.Sprintf(`document.querySelector("#commits code").title === %q`, c.Root))
	}
	if got := eval[int](b, `document.querySelectorAll("#commits tr").length`); got != 8 {
		t.Errorf("%d commits are listed", got)
	}
	b.until("when the last commit was", `document.getElementById("last").textContent.match(/^(now|\d+ s ago)$/) !== null`)
	b.until("a curve", `document.querySelector("#plot polyline") !== null`)
	b.quiet()
}

// The status is asked for on one connection, events come on another.
func TestAnAnswerThatAnEventHasOvertakenIsNoNews(t *testing.T) {
	s := serve(t, anyVariable, nil)
	b := open(t, s.near(), look{})
	b.started()
	asked := make(chan struct{}, 16)
	late := func(path string, _ map[string]any) {
		if path == "/v1/status" { // read already, and on its way for long
			asked <- struct{}{}
			time.Sleep(700 * time.Millisecond)
		}
	}
	s.tamper.Store(&late)
	<-asked
	c := s.put("colour", "green")
	shown := fmt.Sprintf(`document.getElementById("root").textContent === %q`, c.Root)
	b.until("the new root", shown)
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if !eval[bool](b, shown) {
			t.Fatal("the page went back to the root before")
		}
	}
	b.quiet()
}

// Whoever reads from a connection that was cut has to see that it is old.
func TestLostConnectionsAreSaidAndComeBack(t *testing.T) {
	s := serve(t, anyVariable, nil)
	b := open(t, s.near(), look{})
	b.started()
	s.down.Store(true)
	// The stream goes on where it was: it is what asking for the status finds out.
	b.until("that it is lost", `document.getElementById("link").textContent.startsWith("Connection lost, retrying")`)
	s.down.Store(false)
	b.until("that it is back", `document.getElementById("link").dataset.link === "live"`)
	c := s.put("a", "b")
	b.until("the new root", fmt.Sprintf(`document.getElementById("root").textContent === %q`, c.Root))
	b.quiet("net::ERR_", "Failed to load resource")
}

// A browser gives a stream up for good when the answer to its next try is an
// error. The page does not, and says meanwhile how it hears of news.
func TestRefusedStreamsAreAskedForAgain(t *testing.T) {
	s := serve(t, anyVariable, nil)
	b := open(t, s.near(), look{})
	b.started()
	s.full.Store(true)
	s.cut()
	b.until("that no events come", `document.getElementById("link").dataset.link === "polling"`)
	c := s.put("a", "b")
	b.until("the new root by asking", fmt.Sprintf(`document.getElementById("root").textContent === %q`, c.Root))
	s.full.Store(false)
	b.until("that events come again", `document.getElementById("link").dataset.link === "live"`)
	b.quiet("net::ERR_", "503")
}

func TestLookedUpKeysAreProven(t *testing.T) {
	for _, secure := range []bool{true, false} {
		t.Run(fmt.Sprintf("secure %v", secure), func(t *testing.T) {
			s := serve(t, anyVariable, nil)
			s.fill(30)
			s.put("alice", "Engineer", "\x00\xff", "\x01\x02", "empty", "")
			url := s.far()
			if secure {
				url = s.near()
			}
			b := open(t, url, look{})
			b.started()
			if got := eval[bool](b, "isSecureContext && crypto.subtle !== undefined"); got != secure {
				t.Fatalf("the context is secure: %v", got)
			}
			verdict, says := b.lookUp("alice", "text")
			if verdict != "good" || !strings.Contains(says, "Proven in this browser") || !strings.Contains(says, "Engineer") {
				t.Errorf("%s: %s", verdict, says)
			}
			with := map[bool]string{true: "the browser's", false: "the page's own"}[secure]
			if got := eval[string](b, `document.querySelector("#result details").textContent`); !strings.Contains(got, with) {
				t.Errorf("hashed with something else than %s: %s", with, got)
			}
			for _, tc := range []struct{ key, as, verdict, want string }{
				{"616c696365", "hex", "good", "Engineer"},
				{"YWxpY2U", "base64url", "good", "Engineer"},
				{"00ff", "hex", "good", "0102"},
				{"empty", "text", "good", "(no bytes)"},
				{"key 7-1", "text", "good", "value 7-1"},
				{"nobody", "text", "plain", "That a key is absent is not proven"},
				{"xyz", "hex", "bad", "not hexadecimal"},
				{"a", "base64url", "bad", "not base64url"},
				{"<img src=x onerror=alert(1)>", "text", "plain", "none"},
			} {
				if verdict, says := b.lookUp(tc.key, tc.as); verdict != tc.verdict || !strings.Contains(says, tc.want) {
					t.Errorf("%s %q: %s: %s, want %s: %s", tc.as, tc.key, verdict, says, tc.verdict, tc.want)
				}
			}
			b.quiet("404")
		})
	}
}

// In the encoding fixed, text is found as the importer stores it.
func TestTextKeysOfFixedAreHashed(t *testing.T) {
	s := serve(t, anyFixed, nil)
	s.fill(20)
	key, value := sha256.Sum256([]byte("alice")), sha256.Sum256([]byte("Engineer"))
	s.put(string(key[:]), string(value[:]))
	b := open(t, s.far(), look{})
	b.started()
	for as, text := range map[string]string{
		"text": "alice", "hex": hex.EncodeToString(key[:]), "base64url": base64.RawURLEncoding.EncodeToString(key[:]),
	} {
		if verdict, says := b.lookUp(text, as); verdict != "good" || !strings.Contains(says, hex.EncodeToString(value[:])) {
			t.Errorf("%s: %s: %s", as, verdict, says)
		}
	}
	b.quiet()
}

// bits flips one bit of a text in hexadecimal.
func bits(hex any) string {
	s := []byte(hex.(string))
	s[len(s)-1] ^= 1 // 0 and 1, 2 and 3, … 8 and 9; a and `, b and c
	if s[len(s)-1] == '`' {
		s[len(s)-1] = 'f'
	}
	return string(s)
}

func TestTamperedAnswersAreRed(t *testing.T) {
	s := serve(t, anyVariable, nil)
	s.fill(40)
	s.put("alice", "Engineer", "bob", "Plumber")
	old := s.put("alice", "Owner")
	s.fill(3)
	b := open(t, s.far(), look{})
	b.started()
	proof := func(entry map[string]any) map[string]any { return entry["proof"].(map[string]any) }
	for name, tc := range map[string]struct {
		lie  func(map[string]any)
		says string
	}{
		"a value":       {func(e map[string]any) { e["value"] = "RW5naW5lZXI" }, "another value"},
		"a key":         {func(e map[string]any) { e["key"] = "Ym9i" }, "another key"},
		"the location":  {func(e map[string]any) { e["location"] = 1 }, "names location 1"},
		"the operation": {func(e map[string]any) { proof(e)["operations"] = []any{"0gVhbGljZQhFbmdpbmVlcg"} }, "leads to root"},
		"both value and operation": {func(e map[string]any) {
			proof(e)["operations"], e["value"] = []any{"0gVhbGljZQhFbmdpbmVlcg"}, "RW5naW5lZXI"
		}, "leads to root"},
		"a digest": {func(e map[string]any) {
			d := proof(e)["digests"].([]any)
			d[1] = bits(d[1])
		}, "leads to root"},
		"a pin": {func(e map[string]any) {
			d := proof(e)["pins"].([]any)
			d[0] = bits(d[0])
		}, "pinned nodes"},
		"a digest less":        {func(e map[string]any) { proof(e)["digests"] = proof(e)["digests"].([]any)[1:] }, "exactly"},
		"the root":             {func(e map[string]any) { e["root"] = bits(e["root"]) }, "The answer is about root"},
		"the root of both":     {func(e map[string]any) { e["root"] = old.Root; proof(e)["root"] = old.Root }, "trusted is root"},
		"the size":             {func(e map[string]any) { proof(e)["size"] = 12 }, "of 12 operations"},
		"the location of both": {func(e map[string]any) { e["location"] = 0; proof(e)["location"] = 0 }, "digests"},
		"no proof":             {func(e map[string]any) { delete(e, "proof") }, "carries no proof"},
		"another kind":         {func(e map[string]any) { proof(e)["kind"] = "current" }, `"current" are not known here`},
		"another encoding":     {func(e map[string]any) { proof(e)["encoding"] = "fixed" }, "this log is variable"},
		"another family":       {func(e map[string]any) { proof(e)["family"] = "immutable" }, "this log is any"},
		"nonsense":             {func(e map[string]any) { proof(e)["digests"] = 7 }, "digests"},
	} {
		s.lie(tc.lie)
		verdict, says := b.lookUp("alice", "text")
		if verdict != "bad" || !strings.Contains(says, tc.says) || strings.Contains(says, "Proven in") {
			t.Errorf("%s: %s: %s\nwant %s", name, verdict, says, tc.says)
		}
	}
	s.tamper.Store(nil)
	if verdict, says := b.lookUp("alice", "text"); verdict != "good" || !strings.Contains(says, "Owner") {
		t.Errorf("without tampering: %s: %s", verdict, says)
	}
	// Another key's entry, complete and sound, is no answer either.
	other := eval[string](b, `fetch("v1/keys/Ym9i?proof=true").then((a) => a.text())`)
	s.lie(func(e map[string]any) { overwrite(t, e, other) })
	if verdict, says := b.lookUp("alice", "text"); verdict != "bad" || !strings.Contains(says, "another key than the one asked for") {
		t.Errorf("another key's entry: %s: %s", verdict, says)
	}
	b.quiet()
}

// A replica may not hold the state any more that the page knows of. The page
// then learns a newer one, from the status and not from the answer.
func TestForgottenStatesAreAskedForAnew(t *testing.T) {
	s := serve(t, anyVariable, nil)
	s.put("alice", "Engineer")
	b := open(t, s.near(), look{})
	b.started()
	s.forgotten.Store(2)
	if verdict, says := b.lookUp("alice", "text"); verdict != "good" || !strings.Contains(says, "Engineer") {
		t.Errorf("%s: %s", verdict, says)
	}
	s.forgotten.Store(9)
	if verdict, says := b.lookUp("alice", "text"); verdict != "bad" || !strings.Contains(says, "is not held") {
		t.Errorf("%s: %s", verdict, says)
	}
	b.quiet("410")
}

func TestPhoneHasNoSidewaysScrolling(t *testing.T) {
	s := serve(t, anyVariable, replica(document.StateSyncing, 0.417))
	s.fill(30)
	s.put("alice", strings.Repeat("Engineer", 200))
	for _, width := range []int{320, 360} {
		b := open(t, s.near(), look{width: width, height: 740, scale: 2, dark: true})
		b.started()
		b.lookUp("alice", "text")
		if got := eval[int](b, "document.documentElement.scrollWidth"); got > width {
			t.Errorf("%d pixels wide on a screen of %d", got, width)
		}
		wide := eval[[]string](b, `[...document.querySelectorAll("main *")].filter((e) => !e.closest(".scroll, svg") &&
			e.getBoundingClientRect().right > innerWidth).map((e) => e.outerHTML.slice(0, 80))`)
		if len(wide) > 0 {
			t.Errorf("width %d: beyond the edge: %q", width, wide)
		}
		b.quiet()
	}
}

func TestKeyboardAloneLooksAKeyUp(t *testing.T) {
	s := serve(t, anyVariable, nil)
	s.put("alice", "Engineer")
	b := open(t, s.near(), look{})
	b.started()
	// The first stop is the way past everything to the box.
	b.run(chromedp.KeyEvent(kb.Tab))
	if got := eval[string](b, "document.activeElement.className"); got != "skip" {
		t.Fatalf("the first stop is %q", got)
	}
	if eval[string](b, "getComputedStyle(document.activeElement).outlineStyle") == "none" {
		t.Error("the focus is not to be seen")
	}
	b.run(chromedp.KeyEvent(kb.Enter))
	b.until("the focus at the box", `document.activeElement.id === "lookup-title"`)
	b.run(chromedp.KeyEvent(kb.Tab))
	if got := eval[string](b, "document.activeElement.id"); got != "key" {
		t.Fatalf("after the way past everything comes %q", got)
	}
	b.run(chromedp.KeyEvent("alice"), chromedp.KeyEvent(kb.Enter))
	b.until("a verdict", `document.querySelector("#result [data-verdict=good]") !== null`)
	b.run(chromedp.KeyEvent(kb.Tab))
	if got := eval[string](b, "document.activeElement.id"); got != "as" {
		t.Errorf("after the box comes %q", got)
	}
	if got := eval[string](b, `document.querySelector("#result").getAttribute("aria-live")`); got != "polite" {
		t.Error("a reader of the screen does not hear of the result")
	}
	b.quiet()
}

func TestWithoutScriptsTheFactsAreThere(t *testing.T) {
	s := serve(t, anyVariable, replica(document.StateSyncing, 0.417))
	s.fill(20)
	c := s.put("alice", "Engineer")
	b := open(t, s.near(), look{noScripts: true})
	for _, want := range []string{
		"Syncing", "replica", "any/variable", c.Root.String(), "1,000,000", "583,000 ops", "41.7%", "41250 ops/s", "about 14 s left",
		"writer.proofsync.svc:8080", "root mismatch in answer", c.Root.String()[:16], "Without scripts",
	} {
		if got := b.text("body"); !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	// The form goes to the server as forms always did.
	b.run(chromedp.SendKeys(chromedp.CSS("#key"), "alice"+kb.Enter), chromedp.WaitVisible(chromedp.CSS("#result .facts")))
	got := b.text("#result")
	if !strings.Contains(got, "Engineer") || !strings.Contains(got, "Not checked") || !strings.Contains(got, "proofsync verify") {
		t.Errorf("looked up without scripts: %s", got)
	}
	b.quiet()
}

func TestDarkAndLightAreReadable(t *testing.T) {
	s := serve(t, anyVariable, replica(document.StateSyncing, 0.417))
	s.fill(20)
	s.put("alice", "Engineer")
	backs := map[string]bool{}
	for _, dark := range []bool{false, true} {
		b := open(t, s.near(), look{dark: dark})
		b.started()
		backs[eval[string](b, "getComputedStyle(document.body).backgroundColor")] = true
		for _, tamper := range []bool{false, true} {
			if tamper {
				s.lie(func(e map[string]any) { e["value"] = "AAAA" })
			}
			b.lookUp("alice", "text")
			for _, poor := range eval[[]string](b, contrast) {
				t.Errorf("dark %v: %s", dark, poor)
			}
		}
		s.tamper.Store(nil)
		b.quiet()
	}
	if len(backs) != 2 {
		t.Errorf("day and night look the same: %v", backs)
	}
}

// contrast lists texts whose contrast with what is behind them is below 4.5.
const contrast = `(() => {
	// A canvas turns every way to write a colour into four numbers.
	const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
	const rgba = (c) => {
		canvas.clearRect(0, 0, 1, 1);
		canvas.fillStyle = c;
		canvas.fillRect(0, 0, 1, 1);
		return [...canvas.getImageData(0, 0, 1, 1).data];
	};
	const light = (c) => {
		const [r, g, b] = c.map((x) => (x /= 255) <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const behind = (e) => {
		for (; e; e = e.parentElement) {
			const c = rgba(getComputedStyle(e).backgroundColor);
			if (c[3] === 255) return c;
		}
		return [255, 255, 255];
	};
	const poor = [];
	let looked = 0;
	for (const e of document.querySelectorAll("body *")) {
		if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) || !e.checkVisibility() || e.closest("noscript")) continue;
		const isSVG = e instanceof SVGElement;
		const fore = light(rgba(getComputedStyle(e)[isSVG ? "fill" : "color"])), back = light(behind(e));
		const ratio = (Math.max(fore, back) + 0.05) / (Math.min(fore, back) + 0.05);
		looked++;
		if (ratio < 4.5) poor.push(ratio.toFixed(2) + " " + e.outerHTML.slice(0, 100));
	}
	if (looked < 30) poor.push("only " + looked + " texts were looked at");
	return poor;
})()`
