package webtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// View is how a page is looked at.
type View struct {
	Width     int  // of the window in CSS pixels; it is 900 high
	Dark      bool // the person prefers a dark page
	NoScripts bool
}

func (v View) String() string {
	scheme, scripts := "light", ""
	if v.Dark {
		scheme = "dark"
	}
	if v.NoScripts {
		scripts = " without scripts"
	}
	return fmt.Sprintf("%d %s%s", v.Width, scheme, scripts)
}

// Tab is a page in a context of its own: no cookies, nothing in the cache.
type Tab struct {
	t     testing.TB
	ctx   context.Context
	still bool // no scripts
	*watch
}

// limit is how long one action in the browser may take; a busy machine is slow.
const limit = time.Minute

// observe notes what is known only while a page loads. It runs in the page before its own scripts.
const observe = `(() => {
	const seen = window.__seen = { shifts: [], long: [], paint: 0 };
	const name = n => !n || n.nodeType !== 1 ? String(n && n.nodeName) : n.nodeName.toLowerCase() + (n.id ? "#" + n.id : "") + [...n.classList].map(c => "." + c).join("");
	const at = r => " " + [r.x, r.y, r.width, r.height].map(Math.round).join(",");
	const watch = (type, each) => new PerformanceObserver(list => list.getEntries().forEach(each)).observe({ type, buffered: true });
	// A text that changes its length in a place that stays is none.
	const moved = e => !e.sources.length || e.sources.some(s => at(s.previousRect) !== at(s.currentRect));
	watch("layout-shift", e => { if (!e.hadRecentInput && moved(e)) seen.shifts.push({ value: e.value, sources: e.sources.map(s => name(s.node) + at(s.previousRect) + at(s.currentRect)) }); });
	watch("longtask", e => seen.long.push(e.duration));
	watch("largest-contentful-paint", e => { seen.paint = e.startTime; });
})()`

// Open opens a page of the server at base ("http://127.0.0.1:8080") and waits until it is at rest. Every request to another server is a fault.
func (b *Browser) Open(t testing.TB, base, path string, v View) *Tab {
	t.Helper()
	ctx, end := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(end)
	tab := &Tab{t, ctx, v.NoScripts, &watch{base: base, open: map[network.RequestID]bool{}}}
	tab.must("open a tab", chromedp.Listen(ctx, tab.event))
	scheme := "light"
	if v.Dark {
		scheme = "dark"
	}
	tab.do("set up the tab",
		chromedp.EmulateViewport(int64(v.Width), 900),
		call(network.Enable, network.EnableParams{}),
		call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}}),
		call(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: v.NoScripts}),
		call(page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: observe}),
	)
	tab.Go(path)
	return tab
}

// call makes an action of a command whose result does not matter.
func call[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

// Resize changes the width of the window.
func (tab *Tab) Resize(width int) {
	tab.t.Helper()
	tab.do("resize the window", chromedp.EmulateViewport(int64(width), 900))
	tab.Rest()
}

// Go opens another page of the same server.
func (tab *Tab) Go(path string) {
	tab.t.Helper()
	tab.do("open "+path, chromedp.Navigate(tab.base+path))
	tab.Rest()
}

// Rest waits until the page has loaded and drawn what it asked for.
func (tab *Tab) Rest() {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, limit)
	defer cancel()
	if tab.still { // its load event has come, and nothing follows
		return
	}
	for quiet := 0; quiet < 2; quiet++ {
		_, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`new Promise(rest => {
			const drawn = () => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => rest(true), 20)));
			document.readyState === "complete" ? drawn() : addEventListener("load", drawn);
		})`, chromedp.EvalAwaitPromise))
		tab.must("wait for the page", err)
		if tab.loading() > 0 {
			quiet = -1
		}
	}
}

// Eval returns the value of an expression of JavaScript in the page; promises are awaited.
func Eval[T any](tab *Tab, expression string) T {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, limit)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		tab.t.Fatalf("%s: %v", shorten(expression), err)
	}
	return v
}

// Until waits until an expression of JavaScript is true in the page. The time limit of all tests ends it.
func (tab *Tab) Until(expression string) {
	tab.t.Helper()
	for began := time.Now(); !Eval[bool](tab, "Boolean("+expression+")"); time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > 5*time.Minute {
			tab.t.Fatalf("waited in vain for %s; the page says:\n%s", expression, Eval[string](tab, "document.body.innerText"))
		}
	}
}

// Press presses keys, as those of package kb.
func (tab *Tab) Press(keys string, modifiers ...chromedp.Modifier) {
	tab.t.Helper()
	tab.do("press a key", chromedp.KeyEvent(keys, chromedp.KeyModifiers(modifiers...)))
}

// Screenshot writes a picture of the whole page to a PNG file below the folder that $TANDEM_SCREENSHOTS names, if it names one.
func (tab *Tab) Screenshot(name string) {
	tab.t.Helper()
	folder := os.Getenv("TANDEM_SCREENSHOTS")
	if folder == "" {
		return
	}
	ctx, cancel := context.WithTimeout(tab.ctx, limit)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	tab.must("take a screenshot", err)
	path := filepath.Join(folder, name+".png")
	tab.must("make a folder", os.MkdirAll(filepath.Dir(path), 0o755))
	tab.must("write a screenshot", os.WriteFile(path, picture, 0o644))
}

// Close closes the tab.
func (tab *Tab) Close() {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, limit)
	defer cancel()
	tab.must("close the tab", chromedp.Cancel(ctx))
}

func (tab *Tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	tab.t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, limit)
	defer cancel()
	tab.must(what, chromedp.Do(ctx, steps...))
}

func (tab *Tab) must(what string, err error) {
	tab.t.Helper()
	if err != nil {
		tab.t.Fatalf("%s: %v", what, err)
	}
}

func shorten(text string) string { return text[:min(len(text), 100)] }
