// Package answer makes the page that shows an experiment's table as it stands, with the same sections as runner report, and gives the
// table in other formats.
package answer

import (
	"cmp"
	"context"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"tandem/core/fault"
	"tandem/core/results/ablation"
	"tandem/core/results/board"
	"tandem/core/results/metric"
	"tandem/core/results/page"
	"tandem/core/results/report"
	"tandem/core/results/study"
	"tandem/core/results/web"
)

//go:embed answer.html answer.css
var files embed.FS

var (
	_    = web.AddStatic(files, "answer.css")
	body = web.NewBody(files, "answer.html", template.FuncMap{"states": states})
)

// states says how many cells without a value are in which state.
func states(b *board.Board) (all []string) {
	for _, s := range board.States {
		if n := b.Counts[s]; n > 0 && s != board.Done {
			all = append(all, fmt.Sprintf("%d %s", n, s))
		}
	}
	return all
}

// How many answers are kept, and for how long: the times of runs that go on change without a change of the study.
const (
	mostKept = 32
	kept     = time.Minute
)

// pages makes the pages of a site.
type pages struct {
	site    *web.Site
	answers *web.Memo[*answer]
}

// Add adds the pages to a site.
func Add(s *web.Site) {
	p := &pages{s, web.NewMemo[*answer](mostKept, kept)}
	s.Page("GET /e/{experiment}/answer", body, p.show)
	for _, f := range formats {
		s.Data("GET /e/{experiment}/answer."+f.ending, func(w http.ResponseWriter, r *http.Request) error { return p.download(w, r, f) })
	}
}

// answer is what an experiment shows under a question.
type answer struct {
	Experiment string
	Parts      *page.Parts // nil where nothing is recorded yet
	Form       form
}

// view is what the template shows.
type view struct {
	*answer
	Board     *board.Board
	Downloads []link
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
	a, err := p.answers.Get(name+"\x00"+q.values().Encode(), stamp, func() (*answer, error) { return p.make(r.Context(), name, q) })
	if err != nil {
		return nil, err
	}
	v := view{answer: a}
	if v.Board, err = board.Read(r.Context(), p.site.Reader(), name); err != nil {
		return nil, err
	}
	if a.Parts != nil {
		for _, f := range formats {
			v.Downloads = append(v.Downloads, link{address(name, "answer."+f.ending, q.values()), f.name})
		}
	}
	return &web.View{Title: web.Text(name) + ": answer", Place: web.Place{Experiment: name, Tab: "answer"}, Data: v}, nil
}

// make reads the study and makes what the page shows of it.
func (p *pages) make(ctx context.Context, name string, q question) (*answer, error) {
	s, err := study.Read(ctx, p.site.Reader(), name)
	if err != nil {
		return nil, err
	}
	a := &answer{Experiment: name, Form: newForm(s)}
	if len(s.Metrics()) == 0 || len(s.Variants()) == 0 {
		return a, nil
	}
	t, err := s.Table(ctx, q.options())
	if err != nil {
		return nil, err
	}
	a.Form.choose(q, t)
	all, err := page.GatherRuns(ctx, p.site.Reader(), t, p.made())
	if err != nil {
		return nil, err
	}
	a.Parts, err = all.Parts()
	return a, err
}

// made says when and by what something was made.
func (p *pages) made() string {
	return fmt.Sprintf("%s by runner %s", time.Now().UTC().Format("2006-01-02 15:04 UTC"), p.site.Version)
}

// question is what the address of an answer asks for.
type question struct {
	metric   string // "": what the experiment decides by
	level    float64
	baseline string // "": the experiment's
}

const usualLevel = 0.95

// levels are offered to choose from.
var levels = []float64{0.9, usualLevel, 0.99}

func parse(v url.Values) (question, error) {
	q := question{metric: v.Get("metric"), level: usualLevel, baseline: v.Get("baseline")}
	if text := v.Get("level"); text != "" {
		level, err := strconv.ParseFloat(text, 64)
		if err != nil || !(level > 0 && level < 1) {
			return q, fault.New(fault.Invalid, "level: %q is not between 0 and 1", text).WithHint("level=0.95 gives 95 %% intervals and tests at 5 %%")
		}
		q.level = level
	}
	return q, nil
}

// values is the question as an address has it, without what is usual.
func (q question) values() url.Values {
	v := url.Values{}
	if q.metric != "" {
		v.Set("metric", q.metric)
	}
	if q.level != usualLevel {
		v.Set("level", strconv.FormatFloat(q.level, 'g', -1, 64))
	}
	if q.baseline != "" {
		v.Set("baseline", q.baseline)
	}
	return v
}

func (q question) options() study.Options {
	o := study.Options{Level: q.level, Baseline: q.baseline}
	if q.metric != "" {
		o.Metrics = strings.Split(q.metric, ",")
	}
	return o
}

type link struct{ Address, Name string }

// address returns the address of a page of an experiment, with a query.
func address(experiment, tab string, v url.Values) string {
	path := web.ExperimentPath(experiment, tab)
	if len(v) > 0 {
		path += "?" + v.Encode()
	}
	return path
}

// choice is an option of a form.
type choice struct {
	Value, Name string
	Chosen      bool
}

// form holds what may be asked for. The first metric and baseline, without a value, are the experiment's own.
type form struct {
	Metrics, Levels, Baselines []choice
}

func newForm(s *study.Study) form {
	var f form
	e := s.Experiment()
	own := e.Metric
	for _, m := range s.Metrics() {
		own = cmp.Or(own, m)
		f.Metrics = append(f.Metrics, choice{Value: m, Name: metric.Short(m)})
	}
	f.Metrics = ownFirst(f.Metrics, own, metric.Short(own))
	variants := s.Variants()
	for _, v := range variants {
		if v != "" {
			f.Baselines = append(f.Baselines, choice{Value: v, Name: v})
		}
	}
	name := e.Baseline
	if !slices.Contains(variants, name) {
		name = "none"
	}
	f.Baselines = ownFirst(f.Baselines, e.Baseline, cmp.Or(name, "runs without a variant"))
	return f
}

// ownFirst puts the choice that an experiment makes itself in front, without a value.
func ownFirst(all []choice, own, name string) []choice {
	all = slices.DeleteFunc(all, func(c choice) bool { return c.Value == own })
	return slices.Insert(all, 0, choice{Name: name})
}

// choose marks what a table was made with.
func (f *form) choose(q question, t *ablation.Table) {
	mark := func(all []choice, value string) {
		all[max(0, slices.IndexFunc(all, func(c choice) bool { return c.Value == value }))].Chosen = true
	}
	if q.metric == "" {
		mark(f.Metrics, "")
	} else {
		mark(f.Metrics, t.Metrics[0].Name) // it may have been asked for by the end of its name
	}
	mark(f.Baselines, q.baseline)
	offered := levels
	if !slices.Contains(offered, q.level) {
		offered = append(slices.Clone(offered), q.level)
		slices.Sort(offered)
	}
	for _, l := range offered {
		f.Levels = append(f.Levels, choice{strconv.FormatFloat(l, 'g', -1, 64), report.Number(100*l) + " %", l == q.level})
	}
}
