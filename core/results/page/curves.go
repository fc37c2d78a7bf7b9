package page

import (
	"cmp"
	"context"
	"math"
	"slices"

	"tandem/core/results"
	"tandem/core/results/ablation"
	"tandem/core/results/metric"
	"tandem/core/results/report"
	"tandem/core/results/stat"
)

const (
	mostCurves = 6   // charts
	mostPoints = 150 // of a line; with more it is averaged over bins
	bins       = 100
)

// Curve holds a metric over the steps of the drawn variants.
type Curve struct {
	Metric string
	Binned bool // values are means over a hundredth of the training
	Series []Series
}

// Series holds one variant of a curve: by step the mean over its seeds, and the least and greatest of them.
type Series struct {
	Variant         string
	Seeds           int
	Steps           []float64
	Mean, Low, High []float64
}

// curveNames returns the deciding metric, the training loss, and as many of the table's other metrics as there is room for:
// first those that are compared, then those that say most.
func curveNames(t *ablation.Table) []string {
	names := []string{t.Metrics[0].Name, metric.TrainLoss}
	first := func(m ablation.Metric) bool {
		return m.Compared || metric.IsTelling(m.Name)
	}
	for _, wanted := range []bool{true, false} {
		for _, m := range t.Metrics[1:] {
			if first(m) == wanted && !slices.Contains(names, m.Name) {
				names = append(names, m.Name)
			}
		}
	}
	if t.Metrics[0].Name == metric.TrainLoss {
		names = names[1:]
	}
	return names[:min(mostCurves, len(names))]
}

// curves reads the curves of the drawn variants.
func curves(ctx context.Context, src Source, p *Page) ([]Curve, error) {
	var ids []string
	for _, r := range p.Runs {
		if r.Done && slices.Contains(p.Drawn, r.Variant) {
			ids = append(ids, r.ID)
		}
	}
	var all []Curve
	for _, name := range curveNames(p.Table) {
		read, err := src.CurvesOf(ctx, ids, name, mostPoints, bins)
		if err != nil {
			return nil, err
		}
		if read.Longest < 2 {
			continue
		}
		runs := map[string][]results.Curve{}
		for _, r := range p.Runs {
			if points := read.Of[r.ID]; len(points) > 0 {
				runs[r.Variant] = append(runs[r.Variant], points)
			}
		}
		c := Curve{Metric: name, Binned: read.Longest > mostPoints}
		bin := func(step int) int { return step }
		if c.Binned {
			bin = func(step int) int {
				return min(bins-1, int(float64(bins)*float64(step-read.Low)/float64(read.High-read.Low)))
			}
		}
		for _, v := range p.Drawn {
			if s := merge(runs[v], bin); len(s.Steps) > 0 {
				s.Variant = v
				c.Series = append(c.Series, s)
			}
		}
		if len(c.Series) > 0 {
			all = append(all, c)
		}
	}
	return all, nil
}

// merge puts the curves of several seeds together: first each seed's mean in each bin, then the seeds. Values that are
// not finite are left out, and so are bins that not every seed has reached: the mean of fewer would jump.
func merge(runs []results.Curve, bin func(step int) int) Series {
	type sum struct {
		at           int
		step, n, all float64
	}
	type seeds struct {
		step   float64
		values []float64
	}
	merged := map[int]*seeds{}
	for _, points := range runs {
		var sums []sum
		for _, p := range points {
			v := p.Value
			if math.IsNaN(v) || math.IsInf(v, 0) {
				continue
			}
			at := bin(p.Step)
			if len(sums) == 0 || sums[len(sums)-1].at != at {
				sums = append(sums, sum{at: at})
			}
			s := &sums[len(sums)-1]
			s.step, s.n, s.all = s.step+float64(p.Step), s.n+1, s.all+v
		}
		for _, s := range sums {
			m := merged[s.at]
			if m == nil {
				m = &seeds{step: math.Round(s.step / s.n)}
				merged[s.at] = m
			}
			m.values = append(m.values, s.all/s.n)
		}
	}
	out := Series{Seeds: len(runs)}
	var order []*seeds
	for _, m := range merged {
		if len(m.values) == len(runs) {
			order = append(order, m)
		}
	}
	slices.SortFunc(order, func(x, y *seeds) int { return cmp.Compare(x.step, y.step) })
	for _, m := range order {
		s := stat.Summarize(m.values)
		out.Steps, out.Mean = append(out.Steps, m.step), append(out.Mean, s.Mean)
		out.Low, out.High = append(out.Low, s.Min), append(out.High, s.Max)
	}
	return out
}

// Learning holds a curve as a table: a row for each of a few steps, a column for each variant.
type Learning struct {
	Metric   string
	Variants []string
	Rows     []LearningRow
}

// LearningRow holds the means at a step; "–" where there is none.
type LearningRow struct {
	Step  float64
	Means []string
}

// learning makes a curve's table, of at most a dozen steps.
func learning(c Curve) Learning {
	const most = 12
	l := Learning{Metric: c.Metric}
	byStep := map[float64][]string{}
	var steps []float64
	for i, s := range c.Series {
		l.Variants = append(l.Variants, s.Variant)
		for j, step := range s.Steps {
			if byStep[step] == nil {
				byStep[step] = slices.Repeat([]string{"–"}, len(c.Series))
				steps = append(steps, step)
			}
			byStep[step][i] = report.Metric(c.Metric, s.Mean[j])
		}
	}
	slices.Sort(steps)
	n := min(most, len(steps))
	for i := range n {
		step := steps[(i+1)*len(steps)/n-1] // the last among them
		l.Rows = append(l.Rows, LearningRow{step, byStep[step]})
	}
	return l
}
