package webtest

import (
	"fmt"
	"slices"

	"github.com/chromedp/chromedp/kb"
)

// reachable defines functions for the keyboard's way through a page: the elements that have to be reached, in their order, and what has
// the focus. Of a group of radio buttons the Tab key reaches one.
const reachable = `(() => {
	const groups = new Map(), list = [];
	const shown = e => e.checkVisibility({ visibilityProperty: true }) && e.getClientRects().length > 0;
	const name = e => e.outerHTML.replace(/\s+/g, " ").slice(0, 120);
	for (const e of document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex], iframe, [contenteditable]")) {
		if (e.disabled || e.tabIndex < 0 || e.type === "hidden" || !shown(e)) continue;
		if (e.type === "radio") {
			const key = (e.form && e.form.id) + "/" + e.name;
			if (groups.has(key)) { if (e.checked) list[groups.get(key)] = e; continue; }
			groups.set(key, list.length);
		}
		list.push(e);
	}
	const mark = e => { const s = getComputedStyle(e); return [s.outlineStyle, s.outlineWidth, s.outlineColor, s.boxShadow, s.backgroundColor, s.borderColor].join(" "); };
	window.__keys = {
		names: list.map(name),
		bare: list.map(e => e.matches(":focus") ? "" : mark(e)),
		at: () => {
			const e = document.activeElement;
			if (!e || e === document.body || e === document.documentElement) return { Index: -1 };
			const i = list.indexOf(e), r = e.getBoundingClientRect(), s = getComputedStyle(e);
			return {
				Index: i, Name: name(e), Scrolls: e.scrollWidth > e.clientWidth || e.scrollHeight > e.clientHeight,
				Marked: mark(e) !== window.__keys.bare[i] && (s.outlineStyle === "none" || parseFloat(s.outlineWidth) > 0),
				InView: r.bottom > 0 && r.top < innerHeight && r.right > 0 && r.left < innerWidth && r.width > 0 && r.height > 0,
			};
		},
	};
	return window.__keys.names;
})()`

// focus is what has the keyboard's focus.
type focus struct {
	Index          int // among the elements that have to be reached; -1: none of them
	Name           string
	Scrolls        bool // a box that scrolls is reached too
	Marked, InView bool
}

// Keyboard goes through the page with the Tab key and returns what is wrong: elements that are not reached, in another order than they
// stand, without a visible mark, outside the window; a place from which Tab leads no further.
func (tab *Tab) Keyboard() (faults []string) {
	tab.t.Helper()
	Eval[bool](tab, `(document.activeElement && document.activeElement.blur(), getSelection().removeAllRanges(), scrollTo(0, 0), true)`)
	names := Eval[[]string](tab, reachable)
	reached := -1
	seen := map[int]bool{}
	for range 2*len(names) + 20 {
		tab.Press(kb.Tab)
		at := Eval[focus](tab, "window.__keys.at()")
		if at.Name == "" { // past the end
			break
		}
		if at.Index < 0 {
			if !at.Scrolls {
				faults = append(faults, "the keyboard reaches what is no control: "+at.Name)
			}
			continue
		}
		if seen[at.Index] { // around the page, or trapped
			break
		}
		seen[at.Index] = true
		if at.Index < reached {
			faults = append(faults, fmt.Sprintf("the keyboard reaches %s after %s", at.Name, names[reached]))
		}
		reached = max(reached, at.Index)
		if !at.Marked {
			faults = append(faults, "the focus does not show: "+at.Name)
		}
		if !at.InView {
			faults = append(faults, "the focus is outside the window: "+at.Name)
		}
	}
	for i, name := range names {
		if !seen[i] {
			faults = append(faults, "the keyboard does not reach "+name)
		}
	}
	return slices.Compact(faults)
}

// Skip follows the link "Skip to content", the first of the page, and returns what is wrong with it.
func (tab *Tab) Skip() string {
	tab.t.Helper()
	Eval[bool](tab, `(document.activeElement && document.activeElement.blur(), scrollTo(0, 0), true)`)
	tab.Press(kb.Tab)
	if at := Eval[string](tab, `(e => { const r = e.getBoundingClientRect(); return e.className + (r.left >= 0 && r.top >= 0 && r.width > 0 ? "" : " not seen"); })(document.activeElement)`); at != "skip" {
		return fmt.Sprintf("the first element that the keyboard reaches is not the link to the content, but %q", at)
	}
	tab.Press(kb.Enter)
	if at := Eval[string](tab, `document.activeElement.id`); at != "main" {
		return fmt.Sprintf("the link to the content leads to %q, want main", at)
	}
	tab.Press(kb.Tab)
	return Eval[string](tab, `(e => e === document.body || document.getElementById("main").contains(e) || !document.querySelector("main a[href], main button, main input, main select, main textarea") ? "" : "after the link to the content, Tab reaches " + e.outerHTML.slice(0, 120))(document.activeElement)`)
}

// Focus moves the keyboard's focus with the Tab key to the element of a selector.
func (tab *Tab) Focus(selector string) {
	tab.t.Helper()
	for range 200 {
		if Eval[bool](tab, "Boolean(document.activeElement && document.activeElement.matches("+quoted(selector)+"))") {
			return
		}
		tab.Press(kb.Tab)
	}
	tab.t.Fatalf("the keyboard does not reach %s", selector)
}
