package browser

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// farName is a name that is not localhost: by plain http a browser does not
// trust what it loads from there, and hides WebCrypto from it.
const farName = "replica.example"

// patience bounds everything a test waits for.
const patience = 15 * time.Second

// browser is started by the first test that needs it, and shared.
var browser struct {
	once sync.Once
	process
}

// process is a running browser.
type process struct {
	ctx   context.Context // of its first tab, and of all others
	close func()
	err   error // why it does not run
}

func TestMain(m *testing.M) {
	code := m.Run()
	if browser.close != nil {
		browser.close()
	}
	os.Exit(code)
}

// chromium finds the program, or ends the test.
func chromium(t testing.TB) string {
	t.Helper()
	names := []string{"chromium", "chromium-browser", "google-chrome", "chrome"}
	if name := os.Getenv("CHROMIUM"); name != "" {
		names = []string{name}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("BROWSER") == "required" {
		t.Fatalf("no Chromium: none of %s is in PATH", strings.Join(names, ", "))
	}
	t.Skip("no Chromium: install it (Debian: apt-get install chromium) or name it by CHROMIUM")
	return ""
}

func startBrowser(path string) process {
	o := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		// Builds run as root in containers, where the sandbox cannot be made.
		// It sees nothing but our own pages.
		chromedp.NoSandbox,
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("font-render-hinting", "none"),
		chromedp.Flag("host-resolver-rules", "MAP "+farName+" 127.0.0.1"),
		chromedp.WSURLReadTimeout(30*time.Second),
	)
	alloc, stop := chromedp.NewExecAllocator(context.Background(), o...)
	first, cancel := chromedp.NewContext(alloc)
	end := func() {
		cancel()
		stop()
	}
	return process{first, end, chromedp.Do(first)}
}

// tab is a page in the browser, and what it complained about.
type tab struct {
	t   testing.TB
	ctx context.Context

	mu         sync.Mutex
	complaints []string
}

// look says how a tab looks at a page. The zero value is a screen by day.
type look struct {
	width, height int
	scale         float64
	dark          bool
	noScripts     bool
}

// open opens a page in a tab of its own.
func open(t testing.TB, url string, l look) *tab {
	t.Helper()
	path := chromium(t)
	browser.once.Do(func() { browser.process = startBrowser(path) })
	if browser.err != nil {
		t.Fatalf("%s does not start: %v", path, browser.err)
	}
	b := &tab{t: t}
	ctx, cancel := chromedp.NewContext(browser.ctx, chromedp.WithListener(b.hear))
	ctx, stop := context.WithTimeout(ctx, 4*patience)
	t.Cleanup(func() {
		stop()
		cancel()
	})
	b.ctx = ctx
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	b.run(
		command(log.Enable, cdp.Empty{}),
		chromedp.EmulateViewport(int64(cmp.Or(l.width, 1200)), int64(cmp.Or(l.height, 900)), chromedp.EmulateScale(cmp.Or(l.scale, 1))),
		command(emulation.SetEmulatedMedia, media),
		command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: l.noScripts}),
		chromedp.Navigate(url),
	)
	return b
}

// command is a command of the browser's protocol whose answer does not matter.
func command[P any](c cdp.Command[P, cdp.Empty], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

// hear collects errors of scripts, refused resources and broken policies.
func (b *tab) hear(event any) {
	var complaint string
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		complaint = e.ExceptionDetails.Text
		if x := e.ExceptionDetails.Exception; x != nil {
			complaint += " " + x.Description
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning || e.Type == runtime.ConsoleAPICalledTypeAssert {
			complaint = fmt.Sprintf("console.%s", e.Type)
			for _, a := range e.Args {
				complaint += fmt.Sprintf(" %s%s", a.Value, a.Description)
			}
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			complaint = fmt.Sprintf("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	}
	if complaint != "" {
		b.mu.Lock()
		b.complaints = append(b.complaints, complaint)
		b.mu.Unlock()
	}
}

// quiet fails the test for everything the page complained about, but for what
// the test provoked.
func (b *tab) quiet(expected ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
next:
	for _, c := range b.complaints {
		for _, e := range expected {
			if strings.Contains(c, e) {
				continue next
			}
		}
		b.t.Errorf("the browser complains: %s", c)
	}
}

func (b *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// eval runs a script in the page; a promise is waited for.
func eval[T any](b *tab, script string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%v\nin %.200s", err, script)
	}
	return v
}

// until waits until a script returns true.
func (b *tab) until(what, script string) {
	b.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if eval[bool](b, script) {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("not within %s: %s\nthe page says:\n%s", patience, what, eval[string](b, "document.body.innerText"))
		}
	}
}

// started waits until the page's script has taken over.
func (b *tab) started() {
	b.t.Helper()
	b.until("the page lives", `document.body.dataset.started === "true" && document.getElementById("link").dataset.link === "live"`)
}

// text is what an element says.
func (b *tab) text(selector string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf("document.querySelector(%q)?.innerText ?? '(not there)'", selector))
}

// lookUp fills the form by script and waits for a verdict: good, bad or plain.
func (b *tab) lookUp(key, as string) (verdict, says string) {
	b.t.Helper()
	eval[bool](b, fmt.Sprintf(`(() => {
		document.getElementById("result").replaceChildren();
		document.getElementById("key").value = %q;
		document.getElementById("as").value = %q;
		document.querySelector("#lookup button").click();
		return true;
	})()`, key, as))
	b.until("a verdict", `document.querySelector("#result [data-verdict]") !== null`)
	return eval[string](b, `document.querySelector("#result [data-verdict]").dataset.verdict`), b.text("#result")
}
