// Package flips makes the page that shows what two variants of an experiment guess differently, picture by picture.
package flips

import (
	"cmp"
	"context"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"time"

	"tandem/core/results/store"
	"tandem/core/results/web"
)

//go:embed flips.html flips.css
var files embed.FS

var (
	_    = web.AddStatic(files, "flips.css")
	body = web.NewBody(files, "flips.html", template.FuncMap{
		"named": named,
		"sides": func(all ...*side) []*side { return all },
		"last":  func(first int, shown []card) int { return first + len(shown) - 1 },
		"fields": func(name, label string, choices []choice) any {
			return struct {
				Name, Label string
				Choices     []choice
			}{name, label, choices}
		},
	})
)

const (
	perPage  = 24
	mostHits = 12 // that are shown under a text, of a side
	texts    = 4  // that are shown when none is chosen
	mostKept = 8  // contrasts
	kept     = time.Hour
	patience = 5 * time.Second // with data that is being opened: the page comes without pictures then
)

// pages makes the pages of a site.
type pages struct {
	site      *web.Site
	contrasts *web.Memo[*contrast]
	shelf     *shelf
}

// Add adds the pages to a site.
func Add(s *web.Site) {
	p := &pages{s, web.NewMemo[*contrast](mostKept, kept), newShelf()}
	s.Page("GET /e/{experiment}/flips", body, p.show)
	s.Data("GET /e/{experiment}/flips/picture", p.give)
}

// view is what the template shows.
type view struct {
	Experiment string
	None       string // why there is nothing to compare; "": there is
	Form       form
	A, B       *side
	Title      string // of the kind that is shown
	Tabs       []tab
	Total      int // examples of the kind that pass the filters
	First      int // of these on the page, from 1
	Cards      []card
	Pages      []tab
	Found      []found
	NoPictures string // why there are none, or not all; "": there are
	Examples   int
}

// Without returns how many models are left out.
func (s *side) Without() int { return s.without }

// Text returns the class that is asked for; -1: none.
func (f form) Text() int { return f.text }

// tab is a link to another part of what the page shows.
type tab struct {
	Name, Address string
	Count         int
	Here          bool
}

// card is an example with what both sides make of it.
type card struct {
	Index      int
	Label, Key string
	Picture    string // its address; "": none
	A, B       []guess
}

// guess is what models of a side say first of an example.
type guess struct {
	Name       string
	Right      bool
	Models, Of int
	Score      float64
	Then       []string // what a single model says next
}

// found is what both sides find under a text.
type found struct {
	Text    string
	Class   int
	Of      int // examples of the class
	Address string
	Sides   [2]strip
}

type strip struct {
	Of     string // whose
	Hits   []hit
	Taken  int
	Missed int
}

type hit struct {
	Label, Picture string
	Right          bool
}

func (p *pages) show(r *http.Request) (*web.View, error) {
	name := r.PathValue("experiment")
	q, err := parse(r.URL.Query())
	if err != nil {
		return nil, err
	}
	stamp, err := p.site.Reader().Stamp(r.Context(), name)
	if err != nil {
		return nil, err
	}
	all, err := p.site.Reader().Predicted(r.Context(), name)
	if err != nil {
		return nil, err
	}
	v := &view{Experiment: name}
	out := &web.View{Title: web.Text(name) + ": flips", Place: web.Place{Experiment: name, Tab: "flips"}, Data: v}
	if len(all) == 0 {
		v.None = "No done run of this experiment has predictions. An evaluation records them where it has labels: zeroshot, knn, linear and the like."
		return out, nil
	}
	e, err := p.site.Reader().Experiment(r.Context(), name)
	if err != nil {
		return nil, err
	}
	if err := q.complete(e, all); err != nil {
		return nil, err
	}
	v.Form = newForm(q, all)
	if q.a == q.b && q.seedA == q.seedB {
		v.None = "A and B are the same: choose another variant or another seed, once there is one."
		return out, nil
	}
	c, err := p.contrasts.Get(name+"\x00"+q.sides().Encode(), stamp, func() (*contrast, error) {
		return contrasted(r.Context(), p.site.Reader(), [2][]store.Predicted{q.of(all, 0), q.of(all, 1)})
	})
	if err != nil {
		return nil, err
	}
	if c.order == nil {
		v.None = "The two have no predictions of the same examples."
		return out, nil
	}
	p.fill(r.Context(), v, q, c)
	return out, nil
}

// fill chooses what is shown and gets its pictures.
func (p *pages) fill(ctx context.Context, v *view, q *question, c *contrast) {
	v.A, v.B, v.Examples = &c.sides[0], &c.sides[1], len(c.order)
	if q.kind == "" {
		q.kind = kinds[max(0, slices.IndexFunc(kinds, func(k kind) bool { return c.counts[k] > 0 }))]
	}
	for _, k := range kinds {
		v.Tabs = append(v.Tabs, tab{kindName(k, c), q.with("kind", string(k), "page", "").address(v.Experiment), c.counts[k], k == q.kind})
	}
	var shown []int
	for _, i := range c.order {
		if c.kinds[i] == q.kind && (q.label < 0 || int(c.labels[i]) == q.label) {
			shown = append(shown, int(i))
		}
	}
	v.Total, v.Title = len(shown), kindName(q.kind, c)
	last := max(1, (len(shown)+perPage-1)/perPage)
	at := min(q.page, last)
	shown = shown[(at-1)*perPage : min(at*perPage, len(shown))]
	v.First = (at-1)*perPage + 1
	if at > 1 {
		v.Pages = append(v.Pages, tab{Name: "previous", Address: q.with("page", strconv.Itoa(at-1)).address(v.Experiment)})
	}
	if at < last {
		v.Pages = append(v.Pages, tab{Name: "next", Address: q.with("page", strconv.Itoa(at+1)).address(v.Experiment)})
	}
	chosen := []int{q.text}
	if q.text < 0 {
		chosen = c.texts(texts)
	}
	want := slices.Clone(shown)
	for _, class := range chosen {
		for s := range c.sides {
			hits, _ := c.found(s, class)
			want = append(want, hits[:min(mostHits, len(hits))]...)
		}
	}
	slices.Sort(want)
	want = slices.Compact(want)
	l := p.look(ctx, v.Experiment, q, c, want)
	v.NoPictures = l.without
	v.Form.name(l, c.labelled())
	for _, i := range shown {
		v.Cards = append(v.Cards, l.card(c, i))
	}
	for _, class := range chosen {
		v.Found = append(v.Found, l.found(c, class, q.with("text", strconv.Itoa(class)).address(v.Experiment)))
	}
}

// kindName says what a kind is.
func kindName(k kind, c *contrast) string {
	one := len(c.sides[0].models) == 1 && len(c.sides[1].models) == 1
	switch k {
	case onlyA:
		return "Only A right"
	case onlyB:
		return "Only B right"
	case wrong:
		return "Both wrong, differently"
	case wrongAlike:
		if one {
			return "Both wrong, the same guess"
		}
		return "Both wrong, mostly the same guess"
	}
	return "Both right"
}

// looked is what pictures and classes look like.
type looked struct {
	experiment string
	of         source
	shelf      *shelf
	names      []string
	keys       []string
	without    string
}

// look gets the pictures of examples from the data of the first run that can be opened.
func (p *pages) look(ctx context.Context, experiment string, q *question, c *contrast, want []int) *looked {
	l := &looked{experiment: experiment, shelf: p.shelf, keys: c.keys}
	keys := make([]string, len(want))
	for i, index := range want {
		keys[i] = c.keys[index]
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for s := range c.sides {
		of := source{c.sides[s].Runs[0], q.evaluation, q.target}
		err := p.fetch(ctx, experiment, of, want, keys)
		if err == nil {
			l.of, l.without = of, ""
			l.names, _ = p.shelf.names(of)
			break
		}
		if l.without == "" {
			l.without = "There are no pictures and no names of classes: " + reason(err) + "."
		}
	}
	gone := 0
	for i, index := range want {
		if l.without == "" && l.picture(index, keys[i]) == "" {
			gone++
		}
	}
	if gone > 0 {
		l.without = fmt.Sprintf("%d of %d pictures are missing: the dataset has other examples there now.", gone, len(want))
	}
	return l
}

// picture returns the address of an example's picture; "" where there is none.
func (l *looked) picture(index int, key string) string {
	address := l.of.address(l.experiment, index, key)
	if p, has := l.shelf.picture(address); !has || p.data == nil {
		return ""
	}
	return address
}

// class returns the name of a class.
func (l *looked) class(id int) string {
	switch {
	case id < 0:
		return "nothing"
	case id < len(l.names):
		return l.names[id]
	}
	return fmt.Sprintf("class %d", id)
}

func (l *looked) card(c *contrast, i int) card {
	x := card{Index: i, Label: l.class(int(c.labels[i])), Key: c.keys[i], Picture: l.picture(i, c.keys[i])}
	for s, to := range []*[]guess{&x.A, &x.B} {
		of := &c.sides[s]
		for _, v := range of.votes(i, c.labels[i]) {
			*to = append(*to, guess{Name: l.class(v.Class), Right: v.Right, Models: v.Models, Of: len(of.models), Score: v.Score})
		}
		if len(of.models) == 1 {
			for _, next := range of.models[0].guesses[i][1:] {
				if next >= 0 {
					(*to)[0].Then = append((*to)[0].Then, l.class(int(next)))
				}
			}
		}
		*to = (*to)[:min(3, len(*to))]
	}
	return x
}

func (l *looked) found(c *contrast, class int, address string) found {
	f := found{Text: l.class(class), Class: class, Address: address}
	for _, label := range c.labels {
		if int(label) == class {
			f.Of++
		}
	}
	for s := range c.sides {
		hits, missed := c.found(s, class)
		x := strip{Of: fmt.Sprintf("%s %s, seed %d", []string{"A:", "B:"}[s], named(c.sides[s].Variant), c.sides[s].Seeds[0]), Taken: len(hits), Missed: missed}
		for _, i := range hits[:min(mostHits, len(hits))] {
			x.Hits = append(x.Hits, hit{l.class(int(c.labels[i])), l.picture(i, c.keys[i]), int(c.labels[i]) == class})
		}
		f.Sides[s] = x
	}
	return f
}

func named(variant string) string { return cmp.Or(variant, "runs without a variant") }
