package webtest

import (
	"fmt"
	"strings"
	"testing"
)

// Page is a page that is looked at.
type Page struct {
	Name   string   // of its screenshots
	Path   string   // with its query
	Status int      // of the answer; 0: 200
	Has    []string // texts that it shows
	File   bool     // it is a report in one file, without the frame of the site
	Needs  string   // an expression of JavaScript that has to be true: "document.querySelectorAll('svg').length > 2"
}

// Widths are those of a phone, a laptop and a large screen.
var Widths = []int{400, 1280, 2560}

// Check opens pages of the server at base, each at all widths, light and dark, and reports everything that is wrong. With few, it looks
// at the dark page at one width. It prints what loading each page cost.
func (b *Browser) Check(t *testing.T, base string, pages []Page, few bool) {
	t.Helper()
	var loads []string
	for _, p := range pages {
		t.Run(p.Name, func(t *testing.T) {
			for _, width := range Widths {
				for _, dark := range []bool{false, true} {
					if dark && few && width != 1280 {
						continue
					}
					v := View{Width: width, Dark: dark}
					load := b.look(t, base, p, v)
					if width == 1280 && !dark {
						loads = append(loads, fmt.Sprintf("%-14s %s", p.Name, load))
					}
				}
			}
			b.plain(t, base, p)
		})
	}
	t.Logf("what loading cost, at 1280 pixels, nothing cached:\n%s", strings.Join(loads, "\n"))
}

// Limits on what loading a page may cost. They find what is wrong by far; a busy machine decides nothing.
const (
	mostRequests = 40
	mostBytes    = 4e6
	mostElements = 20_000
)

// look opens a page and reports what is wrong.
func (b *Browser) look(t *testing.T, base string, p Page, v View) Load {
	t.Helper()
	tab := b.Open(t, base, p.Path, v)
	wrong := func(faults ...string) {
		t.Helper()
		for _, f := range faults {
			if f != "" {
				t.Errorf("%s, %s: %s", p.Path, v, f)
			}
		}
	}
	load := tab.Load()
	if status := int64(max(p.Status, 200)); tab.status != status {
		wrong(fmt.Sprintf("answers %d, want %d", tab.status, status))
	}
	text := Eval[string](tab, "document.body.innerText")
	for _, want := range p.Has {
		if !strings.Contains(text, want) {
			wrong(fmt.Sprintf("does not show %q. It shows:\n%s", want, text))
		}
	}
	if p.Needs != "" && !Eval[bool](tab, "Boolean("+p.Needs+")") {
		wrong("not true: " + p.Needs)
	}
	wrong(tab.Wide())
	wrong(tab.Broken()...)
	if sum, moved := tab.Shifts(); sum > 0 {
		wrong(fmt.Sprintf("moves by %.4f while it loads: %s", sum, moved))
	}
	if load.Requests > mostRequests || load.Bytes > mostBytes || load.Elements > mostElements {
		wrong("loading costs too much: " + load.String())
	}
	tab.Screenshot(fmt.Sprintf("%s-%d-%s", p.Name, v.Width, map[bool]string{true: "dark", false: "light"}[v.Dark]))
	if v.Width < 2000 { // a wide window has the rules of a laptop's
		wrong(tab.Audit()...)
	}
	if v.Width == 1280 && !v.Dark {
		wrong(tab.Keyboard()...)
		if !p.File {
			wrong(tab.Skip())
		}
		tab.Resize(700)
		if wide := tab.Wide(); wide != "" {
			wrong("at a width of 700: " + wide)
		}
	}
	wrong(tab.Faults()...)
	tab.Close()
	return load
}

// plain opens a page without scripts: it shows the same words.
func (b *Browser) plain(t *testing.T, base string, p Page) {
	t.Helper()
	tab := b.Open(t, base, p.Path, View{Width: 1280, NoScripts: true})
	text := Eval[string](tab, "document.body.innerText")
	for _, want := range p.Has {
		if !strings.Contains(text, want) {
			t.Errorf("%s: without scripts it does not show %q", p.Path, want)
		}
	}
	for _, f := range tab.Faults() {
		t.Errorf("%s, without scripts: %s", p.Path, f)
	}
	tab.Close()
}
