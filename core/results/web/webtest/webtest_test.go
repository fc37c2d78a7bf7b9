package webtest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"tandem/core/results/web/webtest"
)

const head = `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>t</title><link rel="icon" href="data:,"></head><body>`

// What is wrong with a page is found: each page has one fault.
func TestFaultsAreFound(t *testing.T) {
	b := webtest.Start(t)
	pages := map[string]string{
		"warns":   `<script>console.warn("careful")</script>`,
		"throws":  `<script>setTimeout(() => nothing.there)</script>`,
		"asks":    `<script>alert(1)</script>`,
		"abroad":  `<img alt="" src="http://192.0.2.1/a.png">`,
		"named":   `<img alt="" src="http://example.com/a.png">`,
		"missing": `<img alt="" src="/nowhere.png">`,
		"wide":    `<div style="width: 500px">wide</div>`,
		"moves":   `<div id="d"></div><p>text that moves</p><script>requestAnimationFrame(() => requestAnimationFrame(() => { d.style.height = "200px"; }))</script>`,
		"pale":    `<p style="color: #bbb; background: #fff">pale</p>`,
		"mute":    `<img src="data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==">`,
		"hidden":  `<a href="/">one</a> <a href="/" style="outline: none">two</a>`,
		"order":   `<a href="/">one</a> <a href="/" tabindex="1">two</a>`,
		"trap":    `<button onkeydown="if (event.key === 'Tab') event.preventDefault()">one</button><button>two</button>`,
		"sound":   `<p>sound</p><a href="/">one</a> <button>two</button><div tabindex="0">three</div>`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := pages[r.URL.Path[1:]]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, head+body+"</body></html>")
	}))
	defer server.Close()
	for _, c := range []struct{ page, says string }{
		{"warns", "console warning: careful"},
		{"throws", "uncaught exception"},
		{"asks", `a dialog opens: "1"`},
		{"abroad", "a request to another host: http://192.0.2.1/a.png"},
		{"named", "a request failed: Image net::ERR_NAME_NOT_RESOLVED"},
		{"missing", "/nowhere.png answers 404"},
		{"wide", "pixels too wide: <div"},
		{"moves", "moves by"},
		{"pale", "color-contrast"},
		{"mute", "image-alt"},
		{"hidden", `the focus does not show: <a href="/" style="outline: none">`},
		{"order", `after <a href="/" tabindex="1">two`},
		{"trap", "the keyboard does not reach <button>two"},
		{"sound", ""},
	} {
		if (c.page == "pale" || c.page == "mute") && !webtest.Audits() {
			continue // Audit logs what is missing
		}
		tab := b.Open(t, server.URL, "/"+c.page, webtest.View{Width: 400})
		faults := append(tab.Audit(), tab.Wide())
		if sum, moved := tab.Shifts(); sum > 0 {
			faults = append(faults, fmt.Sprintf("moves by %.4f: %s", sum, moved))
		}
		faults = append(append(faults, tab.Keyboard()...), tab.Faults()...)
		found := strings.TrimSpace(strings.Join(faults, "\n"))
		if !strings.Contains(found, c.says) || c.says == "" && found != "" {
			t.Errorf("%s: found\n%s\nwant %q", c.page, found, c.says)
		}
		tab.Close()
	}
}
