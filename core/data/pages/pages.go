// Package pages finds the pictures of a web page and the texts that may describe them: alternative texts, captions of figures,
// what stands nearby, names of files. Pages come from strangers: what they can make a reader do is bounded, and what is left
// out is counted.
package pages

import (
	"bytes"
	"net/url"
	"strconv"
	"strings"

	"github.com/PuerkitoBio/goquery"
	"golang.org/x/net/html"
	"golang.org/x/net/html/charset"

	"tandem/core/fault"
)

// The kinds of texts: where a page has them.
const (
	Alt      = "alt"      // alternative text of the picture
	Caption  = "caption"  // caption of the figure
	Title    = "title"    // title of the picture or of a link around it
	Nearby   = "nearby"   // paragraph around, before or behind, its first sentences
	Heading  = "heading"  // last heading before
	FileName = "filename" // words of the picture's file name
	PageName = "page"     // title of the page
	Given    = "given"    // of a list that somebody made; no page has it
)

// Kinds lists the kinds of texts that pages have, those that describe best first.
var Kinds = []string{Alt, Caption, Title, Nearby, Heading, FileName, PageName}

// Limits bounds what a page may ask for. Zero fields take the defaults.
type Limits struct {
	Tags     int // 300,000
	Pictures int // 5,000
	TextLen  int // bytes of a text; 2,000
}

// Text is one text that may describe a picture.
type Text struct {
	Kind string `json:"kind"`
	Text string `json:"text"`
}

// Picture holds a picture of a page.
type Picture struct {
	// URLs lists where the picture may lie, the likeliest first: src, what scripts would put there, and the sizes of srcset
	// from the largest down. None has a fragment.
	URLs  []string
	Texts []Text // in the order of Kinds
}

// Page holds what a page has.
type Page struct {
	Title    string
	Robots   []string // directives of meta elements for robots, as they are written
	Reserved bool     // tdm-reservation: 1
	Pictures []Picture
	// Skipped counts, by reason, what was left out: of pictures "data: address", "no address", "bad address", "outside the
	// folder", "tracking pixel", "too many pictures"; of texts "text cut".
	Skipped map[string]int
}

// Parse reads a page. contentType is that of the HTTP header, "" when unknown; it helps to guess the encoding. address is where
// the page lies. A page with too many tags or too deep a nest yields fault.Exhausted with a reason.
func Parse(data []byte, contentType, address string, l Limits) (*Page, error) {
	fill := func(v *int, to int) {
		if *v == 0 {
			*v = to
		}
	}
	fill(&l.Tags, 300_000)
	fill(&l.Pictures, 5_000)
	fill(&l.TextLen, 2_000)
	if n := bytes.Count(data, []byte("<")); n > l.Tags {
		return nil, fault.New(fault.Exhausted, "%s has %d tags, the limit is %d", address, n, l.Tags).WithReason("too many tags")
	}
	base, err := url.Parse(address)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%q is no address: %w", address, err).WithReason("bad address")
	}
	in, err := charset.NewReader(bytes.NewReader(data), contentType)
	if err != nil { // an empty page
		return &Page{}, nil
	}
	root, err := html.ParseWithOptions(in, html.ParseOptionEnableScripting(false))
	if err != nil {
		return nil, fault.New(fault.Exhausted, "%s: %w", address, err).WithReason("nested too deeply")
	}
	r := &reader{limits: l, page: &Page{Skipped: map[string]int{}}, base: base, captions: map[*html.Node]string{}, seen: map[string]int{}}
	r.head(goquery.NewDocumentFromNode(root))
	r.walk(root)
	return r.page, nil
}

// reader goes through one page.
type reader struct {
	limits   Limits
	page     *Page
	base     *url.URL
	heading  string
	captions map[*html.Node]string // of figures
	seen     map[string]int        // picture by its first address
}

// head reads what concerns the whole page.
func (r *reader) head(doc *goquery.Document) {
	r.page.Title = r.clean(doc.Find("title").First().Nodes)
	if href, ok := doc.Find("base[href]").First().Attr("href"); ok {
		u, err := r.base.Parse(strings.TrimSpace(href))
		if err == nil && len(href) < maxAddress && (isWeb(u) || u.Scheme == r.base.Scheme && u.Host == r.base.Host) {
			r.base = u
		}
	}
	for _, m := range doc.Find("meta[name]").EachIter() {
		content := m.AttrOr("content", "")
		switch strings.ToLower(strings.TrimSpace(m.AttrOr("name", ""))) {
		case "robots", "tandem":
			r.page.Robots = append(r.page.Robots, content[:min(len(content), 1000)])
		case "tdm-reservation":
			r.page.Reserved = r.page.Reserved || strings.TrimSpace(content) == "1"
		}
	}
}

// walk visits headings and pictures in the order of the page.
func (r *reader) walk(root *html.Node) {
	for n := range root.Descendants() {
		if n.Type != html.ElementNode || n.Namespace != "" {
			continue
		}
		switch n.Data {
		case "h1", "h2", "h3", "h4", "h5", "h6":
			if text := r.clean([]*html.Node{n}); text != "" {
				r.heading = text
			}
		case "img":
			r.picture(n)
		}
	}
}

func (r *reader) picture(n *html.Node) {
	if tiny(attr(n, "width")) || tiny(attr(n, "height")) {
		r.page.Skipped["tracking pixel"]++
		return
	}
	urls, reason := r.addresses(n)
	if len(urls) == 0 {
		r.page.Skipped[reason]++
		return
	}
	i, again := r.seen[urls[0]]
	if !again {
		if len(r.page.Pictures) >= r.limits.Pictures {
			r.page.Skipped["too many pictures"]++
			return
		}
		i = len(r.page.Pictures)
		r.seen[urls[0]] = i
		r.page.Pictures = append(r.page.Pictures, Picture{URLs: urls})
	}
	p := &r.page.Pictures[i]
	if len(p.Texts) < 4*len(Kinds) { // a page may show one picture any number of times
		p.Texts = inOrder(append(p.Texts, r.texts(n, urls[0])...))
	}
}

// tiny reports whether a declared length is that of a picture that nobody sees.
func tiny(length string) bool {
	v, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(length), "px"))
	return err == nil && v <= 2
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name && a.Namespace == "" {
			return a.Val
		}
	}
	return ""
}
