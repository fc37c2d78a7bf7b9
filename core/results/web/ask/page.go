package ask

import (
	"context"
	"fmt"
	"html/template"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"tandem/core/results/report"
	"tandem/core/results/store"
	"tandem/core/results/web"
	"tandem/docs"
)

// askPage is what the page shows.
type askPage struct {
	SQL         string
	Arguments   []argument
	Problem     *problem // nil: none
	Answer      *result  // nil: nothing was asked, or there is a problem
	Questions   []question
	Views       []docs.View
	Experiments []string
	Experiment  string // that the questions are about
	Plotted     bool   // the address says what is plotted
	CSV         string // addresses
	Parquet     string
}

type argument struct{ Name, Value string }

type question struct{ Title, Path string }

// result is a table that is shown, and its values for the plot.
type result struct {
	Columns []string
	Number  []bool
	Rows    [][]item
	Cut     bool
	Took    string
	Data    map[string]any
}

// Plottable reports whether a column has numbers.
func (r *result) Plottable() bool { return slices.Contains(r.Number, true) }

// item is a value of a table.
type item struct {
	Text, Link string
	Null       bool
}

// mostExperiments limits the list that the questions can be about.
const mostExperiments = 200

func gather(ctx context.Context, reader *store.Reader, q url.Values) (*askPage, error) {
	p := &askPage{SQL: q.Get("sql"), Views: docs.Views()}
	for _, name := range []string{"x", "y", "series", "mark"} {
		p.Plotted = p.Plotted || q.Has(name)
	}
	var err error
	if p.Experiments, err = reader.Experiments(ctx); err != nil {
		return nil, err
	}
	p.Experiments = p.Experiments[:min(mostExperiments, len(p.Experiments))]
	if err := p.ask(ctx, reader, q.Get("about")); err != nil {
		return nil, err
	}
	if strings.TrimSpace(p.SQL) == "" {
		return p, nil
	}
	again := url.Values{"sql": {p.SQL}}
	for _, name := range parameters(p.SQL) {
		value := q.Get("arg." + name)
		p.Arguments = append(p.Arguments, argument{name, value})
		again.Set("arg."+name, value)
	}
	if len(p.Arguments) > 0 && !slices.ContainsFunc(p.Arguments, func(a argument) bool { return q.Has("arg." + a.Name) }) {
		return p, nil // it waits for their values
	}
	began := time.Now()
	a, err := answer(ctx, reader, q, shown)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		p.Problem = newProblem(err)
		return p, nil
	}
	p.Answer = newResult(a)
	p.Answer.Took = report.Duration(time.Since(began).Seconds())
	p.CSV, p.Parquet = "/query.csv?"+again.Encode(), "/query.parquet?"+again.Encode()
	return p, nil
}

// ask adds the questions of docs/results.md. They are about an experiment of this database and its metric in place of those of the page.
func (p *askPage) ask(ctx context.Context, reader *store.Reader, about string) error {
	p.Experiment = about
	if about == "" && len(p.Experiments) > 0 {
		p.Experiment = p.Experiments[0]
	}
	own := strings.NewReplacer()
	if p.Experiment != "" {
		e, err := reader.Experiment(ctx, p.Experiment)
		if err != nil {
			return err
		}
		pairs := []string{"'pooling'", quote(e.Name)}
		if e.Metric != "" {
			pairs = append(pairs, "'eval/emoji/top1'", quote(e.Metric))
		}
		own = strings.NewReplacer(pairs...)
	}
	for _, x := range docs.Questions() {
		values := url.Values{"sql": {own.Replace(x.SQL)}}
		if about != "" {
			values.Set("about", about)
		}
		p.Questions = append(p.Questions, question{x.Title, "/query?" + values.Encode()})
	}
	return nil
}

// quote writes a text as SQL does.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

var (
	notCode   = regexp.MustCompile(`(?s)'(?:[^']|'')*'|"(?:[^"]|"")*"|` + "`[^`]*`" + `|\[[^\]]*\]|--[^\n]*|/\*.*?\*/`)
	parameter = regexp.MustCompile(`[:@$]([A-Za-z_]\w*)`)
)

// parameters returns the names of a query's parameters, in their order.
func parameters(query string) (names []string) {
	for _, m := range parameter.FindAllStringSubmatch(notCode.ReplaceAllString(query, " "), -1) {
		if !slices.Contains(names, m[1]) {
			names = append(names, m[1])
		}
	}
	return names
}

func newResult(a *store.Answer) *result {
	r := &result{Columns: a.Columns, Number: make([]bool, len(a.Columns)), Cut: a.Cut}
	values := make([][]any, len(a.Rows))
	for i, row := range a.Rows {
		items := make([]item, len(row))
		values[i] = make([]any, len(row))
		for j, v := range row {
			items[j], values[i][j] = newItem(v)
			switch v.(type) {
			case int64, float64:
				r.Number[j] = true
			}
		}
		r.Rows = append(r.Rows, items)
	}
	r.Data = map[string]any{"columns": a.Columns, "rows": values}
	return r
}

// newItem returns a value as the table shows it and as the plot takes it.
func newItem(v any) (item, any) {
	switch v := v.(type) {
	case nil:
		return item{Null: true}, nil
	case int64:
		return item{Text: strconv.FormatInt(v, 10)}, v
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return item{Text: report.Number(v)}, nil
		}
		return item{Text: strconv.FormatFloat(v, 'g', 8, 64)}, v
	case []byte:
		return item{Text: fmt.Sprintf("%.16x (%d bytes)", v, len(v))}, nil
	case string:
		i := item{Text: v}
		if store.IsID(v) {
			i.Link = web.RunPath(v)
		}
		return i, web.Text(v)
	}
	return item{Text: fmt.Sprint(v)}, fmt.Sprint(v)
}

// functions are what the page's template calls beside those of the site.
var functions = template.FuncMap{"markdown": markdown}

// markdown makes code of what stands between backticks.
func markdown(s string) template.HTML {
	var b strings.Builder
	for i, part := range strings.Split(s, "`") {
		part = template.HTMLEscapeString(part)
		if i%2 == 1 {
			part = "<code>" + part + "</code>"
		}
		b.WriteString(part)
	}
	return template.HTML(b.String())
}
