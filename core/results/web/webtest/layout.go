package webtest

import (
	"fmt"
	"strings"
)

// Wide returns what makes the page scroll sideways: "" if it does not.
func (tab *Tab) Wide() string {
	tab.t.Helper()
	return Eval[string](tab, `(() => {
		const root = document.documentElement, width = root.clientWidth;
		if (root.scrollWidth <= width) return "";
		const scrolls = e => { for (let p = e.parentElement; p && p !== document.body; p = p.parentElement) if (getComputedStyle(p).overflowX !== "visible") return true; };
		const over = [...document.body.querySelectorAll("*")].filter(e => e.getBoundingClientRect().right > width + 0.5 && !scrolls(e));
		return (root.scrollWidth - width) + " pixels too wide: " + over.slice(-3).map(e => e.outerHTML.slice(0, 100)).join("; ");
	})()`)
}

// Shifts returns how much the page has moved by itself (cumulative layout shift) since it was opened, and which elements moved.
func (tab *Tab) Shifts() (float64, string) {
	tab.t.Helper()
	var sum float64
	var moved []string
	for _, s := range Eval[[]struct {
		Value   float64
		Sources []string
	}](tab, "window.__seen.shifts") {
		sum += s.Value
		moved = append(moved, fmt.Sprintf("%.4f %s", s.Value, strings.Join(s.Sources, " ")))
	}
	return sum, strings.Join(moved, "; ")
}

// Load is what loading a page cost.
type Load struct {
	Requests int
	Bytes    float64 // that came over the network, with headers
	Ready    float64 // until DOMContentLoaded, in milliseconds since the navigation began
	Paint    float64 // largest contentful paint, likewise
	Long     float64 // the sum of tasks on the main thread that took more than 50 ms, in milliseconds
	Elements int
}

func (l Load) String() string {
	return fmt.Sprintf("%3d requests  %7.1f kB  ready %5.0f ms  largest paint %5.0f ms  long tasks %5.0f ms  %5d elements",
		l.Requests, l.Bytes/1000, l.Ready, l.Paint, l.Long, l.Elements)
}

// Load returns what loading the page cost. It is asked before anything is done with the page.
func (tab *Tab) Load() Load {
	tab.t.Helper()
	l := Eval[Load](tab, `({
		Ready: performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd,
		Paint: window.__seen.paint,
		Long: window.__seen.long.reduce((a, b) => a + b, 0),
		Elements: document.querySelectorAll("*").length,
	})`)
	tab.mu.Lock()
	defer tab.mu.Unlock()
	l.Requests, l.Bytes = tab.requests, tab.bytes
	return l
}

// Broken returns the pictures that do not show.
func (tab *Tab) Broken() []string {
	tab.t.Helper()
	return Eval[[]string](tab, `[...document.images].filter(i => i.getClientRects().length && i.loading !== "lazy" && (!i.complete || !i.naturalWidth)).map(i => i.outerHTML.slice(0, 120))`)
}
