package page

import (
	"maps"
	"math"
	"slices"
	"strconv"

	"tandem/core/fault"
	"tandem/core/results/ablation"
	"tandem/core/results/metric"
	"tandem/core/results/stat"
)

// mostBars limits how many variants the charts of means and differences show.
const mostBars = 40

// num writes a number for the charts: five digits, null where it is not finite.
type num float64

// MarshalJSON implements json.Marshaler.
func (n num) MarshalJSON() ([]byte, error) {
	v := float64(n)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, v, 'g', 5, 64), nil
}

// charts holds what the page's script draws. Names are as they are shown.
type charts struct {
	Metric   chartMetric    `json:"metric"`
	Level    num            `json:"level"`
	Floor    num            `json:"floor"` // of the noise; null: not known
	Variants []chartVariant `json:"variants"`
	Left     int            `json:"left"` // variants that have no room
	Curves   []chartCurve   `json:"curves"`
	Runs     []chartRun     `json:"runs"`
	Points   []chartPoint   `json:"points"` // of a search, in the order tried

	Narrowing []chartNarrowing `json:"narrowing,omitempty"`
}

type chartPoint struct {
	Name   string            `json:"name"`
	Levels map[string]string `json:"levels"`
	Value  num               `json:"value"` // null: it has none, which counted as bad
	Best   num               `json:"best"`  // so far
}

type chartMetric struct {
	Name  string `json:"name"`
	Share bool   `json:"share"` // a fraction of 1, shown in percent
	Lower bool   `json:"lower"` // lower is better
}

type chartVariant struct {
	Name    string      `json:"name"`
	Role    string      `json:"role"`
	Colour  int         `json:"colour"` // 0: the baseline's; -1: none of its own
	Mean    num         `json:"mean"`
	Low     num         `json:"low"` // of the mean's interval
	High    num         `json:"high"`
	Seeds   [][2]num    `json:"seeds"` // seed, value
	Delta   *chartDelta `json:"delta"`
	Stopped int         `json:"stopped"`
}

type chartDelta struct {
	N       int    `json:"n"`
	Value   num    `json:"value"`
	Low     num    `json:"low"`
	High    num    `json:"high"`
	P       num    `json:"p"`
	Verdict string `json:"verdict"`
}

type chartCurve struct {
	Metric chartMetric   `json:"metric"`
	Binned bool          `json:"binned"`
	Series []chartSeries `json:"series"`
}

type chartSeries struct {
	Variant string `json:"variant"`
	Colour  int    `json:"colour"`
	Seeds   int    `json:"seeds"`
	Steps   []num  `json:"steps"`
	Mean    []num  `json:"mean"`
	Low     []num  `json:"low"`
	High    []num  `json:"high"`
}

type chartRun struct {
	Variant    string `json:"variant"`
	Colour     int    `json:"colour"`
	Seed       int64  `json:"seed"`
	Run        string `json:"run"`
	Value      num    `json:"value"`
	Seconds    num    `json:"seconds"`
	FLOPs      num    `json:"flops"`
	Parameters num    `json:"parameters"`
}

type chartNarrowing struct {
	Variant string          `json:"variant"`
	Colour  int             `json:"colour"`
	Points  []chartNarrowed `json:"points"`
}

type chartNarrowed struct {
	N     int   `json:"n"`
	Seed  int64 `json:"seed"`
	Value num   `json:"value"`
	Low   num   `json:"low"`
	High  num   `json:"high"`
}

func chartNarrowings(all []Narrowing, colours map[string]int) (charts []chartNarrowing) {
	for _, n := range all {
		c := chartNarrowing{Variant: fault.Printable(n.Variant), Colour: colour(colours, n.Variant)}
		for _, p := range n.Points {
			c.Points = append(c.Points, chartNarrowed{p.Pairs, p.Seed, num(p.Delta), num(p.Low), num(p.High)})
		}
		charts = append(charts, c)
	}
	return charts
}

// newCharts gathers what the charts need.
func newCharts(p *Page) charts {
	t := p.Table
	colours := colours(p)
	c := charts{Metric: metricOf(t.Metrics[0].Name, t.Metrics[0].Direction), Level: num(t.Level), Floor: num(math.NaN()),
		Variants: []chartVariant{}, Curves: []chartCurve{}, Runs: []chartRun{}}
	if t.Noise != nil {
		c.Floor = num(t.Noise.Floor)
	}
	for _, r := range barRows(t) {
		c.Variants = append(c.Variants, newVariant(r, colour(colours, r.Variant), t.Level))
	}
	c.Left = rowsWithMeans(t) - len(c.Variants)
	c.Points = points(t)
	for _, curve := range p.Curves {
		way := metric.DirectionOf(curve.Metric)
		if i := slices.IndexFunc(t.Metrics, func(m ablation.Metric) bool { return m.Name == curve.Metric }); i >= 0 {
			way = t.Metrics[i].Direction
		}
		cc := chartCurve{Metric: metricOf(curve.Metric, way), Binned: curve.Binned}
		for _, s := range curve.Series {
			cc.Series = append(cc.Series, chartSeries{fault.Printable(s.Variant), colour(colours, s.Variant), s.Seeds, nums(s.Steps), nums(s.Mean), nums(s.Low), nums(s.High)})
		}
		c.Curves = append(c.Curves, cc)
	}
	for _, r := range p.Runs {
		if r.Done && !math.IsNaN(r.Value) && r.Seconds > 0 {
			c.Runs = append(c.Runs, chartRun{fault.Printable(r.Variant), colour(colours, r.Variant), r.Seed, r.ID, num(r.Value), num(r.Seconds), num(r.FLOPs), num(r.Parameters)})
		}
	}
	return c
}

// points returns the points of a search.
func points(t *ablation.Table) []chartPoint {
	list := []chartPoint{}
	if t.Search == nil {
		return list
	}
	levels := map[string]map[string]string{}
	for _, r := range t.Rows {
		levels[r.Variant] = r.Levels
	}
	for _, p := range t.Search.Points {
		list = append(list, chartPoint{fault.Printable(p.Variant), shown(levels[p.Variant]), num(p.Value), num(p.BestNow)})
	}
	return list
}

// Legend returns the variants with a colour that the charts of curves and costs show, in the order of their colours.
func (c charts) Legend() []string {
	names := map[int]string{}
	for _, curve := range c.Curves {
		for _, s := range curve.Series {
			names[s.Colour] = s.Variant
		}
	}
	for _, r := range c.Runs {
		names[r.Colour] = r.Variant
	}
	delete(names, -1)
	var all []string
	for _, colour := range slices.Sorted(maps.Keys(names)) {
		all = append(all, names[colour])
	}
	return all
}

// Compared counts the variants whose difference from the baseline is drawn.
func (c charts) Compared() (n int) {
	for _, v := range c.Variants {
		if v.Delta != nil {
			n++
		}
	}
	return n
}

// shown returns the levels of factors as they are shown.
func shown(levels map[string]string) map[string]string {
	if levels == nil {
		return nil
	}
	out := make(map[string]string, len(levels))
	for factor, level := range levels {
		out[fault.Printable(factor)] = fault.Printable(level)
	}
	return out
}

// HasFloor reports whether the noise floor is known.
func (c charts) HasFloor() bool { return !math.IsNaN(float64(c.Floor)) }

func metricOf(name string, way metric.Direction) chartMetric {
	return chartMetric{fault.Printable(name), metric.IsShare(name), way == metric.Down}
}

// colours gives every drawn variant a colour: 0 to the baseline, from 1 on to the others.
func colours(p *Page) map[string]int {
	m, next := map[string]int{}, 1
	for _, v := range p.Drawn {
		if p.Table.HasBaseline && v == p.Table.Baseline {
			m[v] = 0
			continue
		}
		m[v] = next
		next++
	}
	return m
}

func colour(colours map[string]int, variant string) int {
	if c, has := colours[variant]; has {
		return c
	}
	return -1
}

// barRows returns the rows with a mean: all of them, or where they are many the baseline, its repeat and the best.
func barRows(t *ablation.Table) []ablation.Row {
	var rows []ablation.Row
	for _, r := range t.Rows {
		if r.Columns[0].Summary.N > 0 && !isPoint(t, r) && (r.Role != ablation.IsVariant || r.Rank <= mostBars) && len(rows) < mostBars+2 {
			rows = append(rows, r)
		}
	}
	return rows
}

// isPoint reports whether a row is a point of a search, which has a chart of its own.
func isPoint(t *ablation.Table, r ablation.Row) bool {
	return t.Search != nil && r.Role == ablation.IsTrial
}

func rowsWithMeans(t *ablation.Table) (n int) {
	for _, r := range t.Rows {
		if r.Columns[0].Summary.N > 0 && !isPoint(t, r) {
			n++
		}
	}
	return n
}

func newVariant(r ablation.Row, colour int, level float64) chartVariant {
	c := r.Columns[0]
	v := chartVariant{Name: fault.Printable(r.Variant), Role: string(r.Role), Colour: colour, Mean: num(c.Summary.Mean), Stopped: r.Stopped}
	var values []float64
	var seeds []int64
	for seed := range c.Values {
		seeds = append(seeds, seed)
	}
	slices.Sort(seeds)
	for _, seed := range seeds {
		v.Seeds = append(v.Seeds, [2]num{num(seed), num(c.Values[seed])})
		values = append(values, c.Values[seed])
	}
	i := stat.MeanInterval(values, level, 0)
	v.Low, v.High = num(i.Low), num(i.High)
	if d := c.Comparison; d != nil && d.N > 0 {
		v.Delta = &chartDelta{d.N, num(d.Delta), num(d.Interval.Low), num(d.Interval.High), num(c.Judgement.P), string(c.Judgement.Verdict)}
	}
	return v
}

func nums(values []float64) []num {
	out := make([]num, len(values))
	for i, v := range values {
		out[i] = num(v)
	}
	return out
}
