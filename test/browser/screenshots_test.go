package browser

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/proofsync/proofsync/pkg/database"
	"github.com/proofsync/proofsync/pkg/document"
)

// TestScreenshots takes the pictures of the documentation, when asked to.
func TestScreenshots(t *testing.T) {
	if os.Getenv("UPDATE_SCREENSHOTS") == "" {
		t.Skip("UPDATE_SCREENSHOTS=1 takes them")
	}
	if testing.Short() {
		t.Skip("it waits for curves to grow")
	}
	writer := serve(t, anyVariable, func() document.Status {
		return document.Status{
			Role: document.RoleServer, Version: "v1.4.0", State: document.StateServing, Ready: true,
			Message: "the database is open, replicas are served on port 8080", Started: time.Now().Add(-26 * time.Hour),
		}
	})
	writer.fill(280)
	began := time.Now()
	writer.age(func(i int) time.Time { // at a pace that rises and falls
		return began.Add(-time.Duration(i) * (900 + time.Duration(700*math.Sin(float64(i)/12))) * time.Millisecond)
	})
	writer.put("alice", `{"name":"Alice","role":"Engineer"}`)

	server := open(t, writer.near(), look{width: 1200, height: 900, scale: 1.5})
	var syncing *site
	syncing = serve(t, anyVariable, func() document.Status { return syncing.catchingUp() })
	syncing.age(func(i int) time.Time { return syncing.clock().Add(-time.Duration(16*i+3) * time.Second) })
	syncing.bulk()
	client := open(t, syncing.near(), look{width: 1200, height: 900, scale: 1.5, dark: true})
	var instep *site
	instep = serve(t, anyVariable, func() document.Status { return instep.inStep() })
	instep.fill(25)
	instep.age(func(i int) time.Time { return began.Add(-time.Duration(7*i*i+4) * time.Second) })
	instep.put("alice", `{"name":"Alice","role":"Engineer"}`)
	phone := open(t, instep.near(), look{width: 375, height: 812, scale: 2})
	for _, b := range []*tab{server, client, phone} {
		b.started()
	}
	for range 15 { // the curve of the lag falls
		time.Sleep(800 * time.Millisecond)
		syncing.bulk()
	}
	time.Sleep(1200 * time.Millisecond)
	server.lookUp("alice", "text")
	server.save("status-server-light")
	client.save("status-client-syncing-dark")
	phone.lookUp("alice", "text")
	phone.save("status-phone")

	writer.lie(func(e map[string]any) { e["value"] = "eyJuYW1lIjoiTWFsbG9yeSJ9" })
	server.lookUp("alice", "text")
	server.save("status-tampered")
}

// clock is twenty times too fast, so that minutes pass while the test waits.
func (s *site) clock() time.Time { return s.began.Add(20 * time.Since(s.began)) }

// catchingUp is the status of a client that gets nearer to its target.
func (s *site) catchingUp() document.Status {
	d := replica(document.StateSyncing, float64(s.size())/1_000_000)()
	d.Time = s.clock()
	return d
}

// inStep is the status of a client that has all there is.
func (s *site) inStep() document.Status {
	d := replica(document.StateInStep, 1)()
	d.Target.End = s.size()
	return d
}

func (s *site) size() uint64 {
	v, err := s.db.View()
	if err != nil {
		s.t.Error(err)
		return 0
	}
	defer v.Close()
	return v.Size()
}

// bulk is a commit of the size that a sync stores at once.
func (s *site) bulk() {
	s.t.Helper()
	var b database.Batch
	for range 41_000 {
		s.keys++
		b.Writes = append(b.Writes, database.Write{Key: fmt.Appendf(nil, "key %d", s.keys), Value: []byte("value")})
	}
	if _, err := s.db.Apply(s.t.Context(), b); err != nil {
		s.t.Fatal(err)
	}
}

// age gives the i-th newest commit another time.
func (s *site) age(of func(i int) time.Time) {
	f := func(path string, answer map[string]any) {
		if path != "/v1/commits" {
			return
		}
		for i, c := range answer["commits"].([]any) {
			c.(map[string]any)["time"] = of(i).UTC()
		}
	}
	s.tamper.Store(&f)
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
