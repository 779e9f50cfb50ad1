package browser

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestScreenshots takes the pictures of the documentation, when asked to: of our
// own programs at work. Their data are checksums of the modules that we need and
// of Go's source; what the cold sync fetches is made by the server's generator.
//
//	checksums --API--> server --sync--> client (in step)
//	                   server --> a proxy that changes a byte
//	generator -------> server --sync--> client (a cold sync under way)
func TestScreenshots(t *testing.T) {
	if os.Getenv("UPDATE_SCREENSHOTS") == "" {
		t.Skip("UPDATE_SCREENSHOTS=1 takes them")
	}
	if testing.Short() {
		t.Skip("it waits for curves to grow")
	}
	chromium(t)
	bin := programs(t)
	server, client := filepath.Join(bin, "server"), filepath.Join(bin, "client")
	big := run(t, server, "-p", "0", "-i", "1000000", "-t", "0")
	secret, file := token(t)
	writer := run(t, server, "-p", "0", "-i", "0", "-t", "0", "--encoding", "variable", "--write-token-file", file)
	author := newAuthor(t, writer.page(), secret)
	module := author.modules("github.com/spf13/cobra")
	replica := run(t, client, "-s", writer.await(syncAddress, patience), "--encoding", "variable", "--follow")

	// Long enough for a curve, and until the large database is made.
	const pace = 400 * time.Millisecond
	began := time.Now()
	author.sources(pace, func() bool { return big.said(syncAddress) != "" && time.Since(began) > 40*time.Second })
	bigAddress := big.await(syncAddress, 4*time.Minute)

	day := look{width: 1200, height: 900, scale: 1.5}
	served := open(t, writer.page(), day)
	phone := open(t, replica.page(), look{width: 390, height: 844, scale: 2})
	served.started()
	phone.started()
	began = time.Now()
	author.sources(pace, func() bool { return time.Since(began) > 15*time.Second })
	if verdict, says := served.lookUp(module, "text"); verdict != "good" {
		t.Fatalf("%s: %s", module, says)
	}
	served.until("the newest commit in the table", `document.querySelector("#commits code").title === document.getElementById("root").textContent`)
	served.save("status-server-light")
	phone.until("that it is in step", fmt.Sprintf(`document.getElementById("state").dataset.state === "in_step" &&
		document.getElementById("root").textContent === %q`, served.text("#root")))
	if verdict, says := phone.lookUp("bufio/scan.go", "text"); verdict != "good" {
		t.Fatal(says)
	}
	phone.save("status-phone")

	tampered := open(t, flipper(t, writer.page()), day)
	tampered.started()
	if verdict, says := tampered.lookUp(module, "text"); verdict != "bad" {
		t.Fatalf("%s with another byte: %s", module, says)
	}
	tampered.until("how long ago the last commit was", `document.getElementById("last").textContent.endsWith("ago")`)
	tampered.save("status-tampered")

	// A request at a time, so that there is time to look.
	cold := run(t, client, "-s", bigAddress, "--batch-size", "50", "--max-outstanding-requests", "1")
	night := day
	night.dark = true
	syncing := open(t, cold.page(), night)
	syncing.started()
	syncing.until("a third of the sync", `document.getElementById("progress").value > 0.33`)
	syncing.save("status-client-syncing-dark")
	if done := eval[float64](syncing, `document.getElementById("progress").value`); done > 0.8 {
		t.Errorf("the sync was too fast for a picture: %.0f%%", 100*done)
	}
}

// save takes a picture of what the screen shows.
func (b *tab) save(name string) {
	b.t.Helper()
	// The shown part, or all of it where it is longer.
	width := eval[int](b, "innerWidth")
	scale := eval[float64](b, "devicePixelRatio")
	b.run(chromedp.EmulateViewport(int64(width), 400, chromedp.EmulateScale(scale)))
	height := eval[int](b, "document.documentElement.scrollHeight")
	b.run(chromedp.EmulateViewport(int64(width), int64(height), chromedp.EmulateScale(scale)))
	time.Sleep(150 * time.Millisecond) // the curve is drawn anew
	shot, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	small := palette(b.t, shot)
	if len(small) > 150<<10 {
		b.t.Errorf("%s: %d bytes", name, len(small))
	}
	if err := os.WriteFile(filepath.Join("..", "..", "docs", "screenshots", name+".png"), small, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// palette makes a picture of its 256 most frequent colours, which is all that a
// page without photographs has.
func palette(t testing.TB, shot []byte) []byte {
	t.Helper()
	picture, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		t.Fatal(err)
	}
	counts := map[color.RGBA]int{}
	for y := range picture.Bounds().Dy() {
		for x := range picture.Bounds().Dx() {
			counts[color.RGBAModel.Convert(picture.At(x, y)).(color.RGBA)]++
		}
	}
	colours := make([]color.RGBA, 0, len(counts))
	for c := range counts {
		colours = append(colours, c)
	}
	slices.SortFunc(colours, func(a, b color.RGBA) int { return counts[b] - counts[a] })
	var p color.Palette
	for _, c := range colours[:min(256, len(colours))] {
		p = append(p, c)
	}
	out := image.NewPaletted(picture.Bounds(), p)
	known := map[color.RGBA]uint8{}
	for y := range picture.Bounds().Dy() {
		for x := range picture.Bounds().Dx() {
			c := color.RGBAModel.Convert(picture.At(x, y)).(color.RGBA)
			i, ok := known[c]
			if !ok {
				i = uint8(p.Index(c))
				known[c] = i
			}
			out.SetColorIndex(x, y, i)
		}
	}
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, out); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
