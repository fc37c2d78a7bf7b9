package pages

import (
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/andybalholm/cascadia"
	"golang.org/x/net/html"
	"golang.org/x/text/unicode/norm"
)

// Elements that hold a picture and its caption, and the caption in them, the likeliest first: HTML's own, those of DocBook,
// Sphinx, Doxygen, Texinfo, MediaWiki and WordPress.
var (
	figures = cascadia.MustCompile("figure, .figure, .informalfigure, .wp-caption, .thumb, .image, .float, .gallerybox, .sphx-glr-thumbcontainer")
	within  = []cascadia.Selector{cascadia.MustCompile("figcaption"), cascadia.MustCompile(".caption, .wp-caption-text, .thumbcaption, .gallerytext"),
		cascadia.MustCompile(".title, .sphx-glr-thumbnail-title")}
	numbered = regexp.MustCompile(`(?i)^(fig(ure|\.)?|image|picture|plate|abb(ildung|\.)?|bild)\s*[0-9]+([.\-–][0-9]+)*\s*[.:)–-]*\s*`)
)

const (
	levels   = 4   // elements that are looked at around a picture
	inFigure = 200 // nodes that are looked at for a caption
	siblings = 3   // elements that are looked at before and behind
	nearLen  = 300 // bytes of a text nearby, if it has a sentence of fewer
)

// texts returns what may describe the picture of an element.
func (r *reader) texts(n *html.Node, address string) (out []Text) {
	add := func(kind, text string) {
		if text != "" {
			out = append(out, Text{kind, text})
		}
	}
	add(Alt, r.tidy(attr(n, "alt")))
	caption := r.caption(n)
	add(Caption, caption)
	title := attr(n, "title")
	for p, i := n.Parent, 0; p != nil && i < 2 && title == ""; p, i = p.Parent, i+1 {
		if p.Type == html.ElementNode && p.Data == "a" {
			title = attr(p, "title")
		}
	}
	add(Title, r.tidy(title))
	if near := r.near(n); caption == "" || !strings.Contains(near, caption) {
		add(Nearby, near)
	}
	add(Heading, r.heading)
	add(FileName, FileWords(address))
	add(PageName, r.page.Title)
	return out
}

// caption returns the caption of the figure around a picture, without its number.
func (r *reader) caption(n *html.Node) string {
	for p, i := n.Parent, 0; p != nil && i < levels; p, i = p.Parent, i+1 {
		if p.Type != html.ElementNode || !figures.Match(p) {
			continue
		}
		text, known := r.captions[p]
		if !known {
			for _, s := range within {
				if text = r.first(p, s); text != "" {
					break
				}
			}
			text = numbered.ReplaceAllString(text, "")
			r.captions[p] = text
		}
		if text != "" {
			return text
		}
	}
	return ""
}

// first returns the text of the first element below n that a selector matches. It looks at few, since figures may be nested.
func (r *reader) first(n *html.Node, s cascadia.Selector) string {
	left := inFigure
	for d := range n.Descendants() {
		if left--; left < 0 {
			break
		}
		if s.Match(d) {
			if text := r.clean([]*html.Node{d}); text != "" {
				return text
			}
		}
	}
	return ""
}

// near returns the beginning of the text around a picture, otherwise of that just before or behind.
func (r *reader) near(n *html.Node) string {
	for i := 0; n.Parent != nil && i < levels; i++ {
		switch n.Parent.Data {
		case "p", "li", "td", "dd", "dt", "a", "blockquote", "section", "article":
			if text := r.clean([]*html.Node{n.Parent}); text != "" {
				return sentences(text)
			}
		}
		before, behind := n.PrevSibling, n.NextSibling
		for range siblings {
			before, behind = element(before, false), element(behind, true)
			for _, s := range []**html.Node{&before, &behind} {
				if *s == nil {
					continue
				}
				if text := r.clean([]*html.Node{*s}); text != "" {
					return sentences(text)
				}
			}
			if before != nil {
				before = before.PrevSibling
			}
			if behind != nil {
				behind = behind.NextSibling
			}
		}
		n = n.Parent
	}
	return ""
}

// element returns the first node from n on that has text of the page: no blanks, no scripts. It looks at few.
func element(n *html.Node, forward bool) *html.Node {
	for i := 0; n != nil && i < 2*siblings; i++ {
		blank := n.Type == html.TextNode && strings.TrimSpace(n.Data[:min(len(n.Data), 100)]) == ""
		if (n.Type == html.TextNode && !blank) || (n.Type == html.ElementNode && !unseen(n)) {
			return n
		}
		if forward {
			n = n.NextSibling
		} else {
			n = n.PrevSibling
		}
	}
	return nil
}

func unseen(n *html.Node) bool {
	switch n.Data {
	case "script", "style", "template", "nav", "img", "svg", "pre", "code", "button", "form", "select":
		return true
	}
	return false
}

// sentences returns as many sentences from the beginning of a text as have at most nearLen bytes, at least one.
func sentences(text string) string {
	end := 0
	for i := 0; i < len(text); i++ {
		if strings.IndexByte(".!?", text[i]) >= 0 && (i+1 == len(text) || text[i+1] == ' ') {
			if end > 0 && i+1 > nearLen {
				break
			}
			end = i + 1
		}
	}
	if end == 0 || len(text) <= nearLen {
		return text
	}
	return text[:end]
}

// clean returns the text of nodes in one line. It reads no more than is kept of it.
func (r *reader) clean(nodes []*html.Node) string {
	var b strings.Builder
	var add func(n *html.Node)
	left := 5_000 // nodes that are looked at
	add = func(n *html.Node) {
		if left--; left < 0 || b.Len() > 2*r.limits.TextLen {
			return
		}
		switch {
		case n.Type == html.TextNode:
			b.WriteString(n.Data[:min(len(n.Data), 2*r.limits.TextLen)])
		case n.Type == html.ElementNode && (unseen(n) && n.Data != "code" || attr(n, "class") == "headerlink"):
			return
		case n.Type == html.ElementNode && !inline(n):
			b.WriteByte(' ')
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			add(c)
		}
		if n.Type == html.ElementNode && !inline(n) {
			b.WriteByte(' ')
		}
	}
	for _, n := range nodes {
		add(n)
	}
	return r.tidy(b.String())
}

func inline(n *html.Node) bool {
	switch n.Data {
	case "a", "abbr", "b", "bdi", "bdo", "big", "cite", "code", "dfn", "em", "font", "i", "kbd", "mark", "q", "s", "samp", "small", "span", "strong",
		"sub", "sup", "tt", "u", "var", "wbr", "ins", "del":
		return true
	}
	return false
}

// tidy returns a text as it is kept, and counts those that are cut.
func (r *reader) tidy(text string) string {
	cut := len(text) > 4*r.limits.TextLen
	text = Tidy(text[:min(len(text), 4*r.limits.TextLen)])
	if cut || len(text) > r.limits.TextLen {
		r.page.Skipped["text cut"]++
		text = text[:min(len(text), r.limits.TextLen)]
		for !utf8.ValidString(text) {
			text = text[:len(text)-1]
		}
	}
	return text
}

// Tidy returns a text in one line, in composed Unicode (NFC), without control characters and with single blanks.
func Tidy(text string) string {
	text = strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c):
			return ' '
		case c == '\u00ad' || unicode.IsControl(c) || unicode.Is(unicode.Cf, c) && c != '\u200d' && c != '\u200c':
			return -1
		}
		return c
	}, strings.ToValidUTF8(text, "\ufffd"))
	return norm.NFC.String(strings.Join(strings.Fields(text), " "))
}

// FileWords returns the words of a picture's file name: "red-kangaroo_02.jpg" has "red kangaroo".
func FileWords(address string) string {
	name := address
	if u, err := url.Parse(address); err == nil {
		name = u.Path
	}
	name = path.Base(name)
	name = strings.TrimSuffix(name, path.Ext(name))
	var b strings.Builder
	var last rune
	for _, c := range name {
		switch {
		case !unicode.IsLetter(c):
			c = ' '
		case unicode.IsUpper(c) && unicode.IsLower(last):
			b.WriteByte(' ')
		}
		b.WriteRune(c)
		last = c
	}
	words := strings.Fields(b.String())
	words = slices.DeleteFunc(words, func(w string) bool { return utf8.RuneCountInString(w) < 2 })
	return Tidy(strings.Join(words, " "))
}

// inOrder sorts texts by their kinds and leaves out those that were there.
func inOrder(texts []Text) []Text {
	slices.SortStableFunc(texts, func(a, b Text) int { return slices.Index(Kinds, a.Kind) - slices.Index(Kinds, b.Kind) })
	var out []Text
	for _, t := range texts {
		if !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}
