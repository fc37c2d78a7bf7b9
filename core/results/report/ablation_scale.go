package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"tandem/core/results/ablation"
	"tandem/core/results/metric"
	"tandem/core/results/stat"
)

// scale says how a column writes its metric: all of its numbers have the same decimals.
type scale struct {
	factor      float64
	decimals    int
	unit, delta string // of values and of differences: "%" and "pt"
}

// scaleOf returns the scale of the metric of column j. Its decimals show two digits of the usual standard deviation.
func scaleOf(t *ablation.Table, j int) scale {
	name := t.Metrics[j].Name
	s := scale{factor: 1}
	least, most := 0, 6
	switch metric.UnitOf(name) {
	case metric.Share:
		s = scale{factor: 100, unit: "%", delta: "pt"}
		least, most = 1, 3
	case metric.Milliseconds:
		s.unit, s.delta = "ms", "ms"
	case metric.PerSecond:
		s.unit, s.delta = "/s", "/s"
	}
	var stds []float64
	largest := 0.0
	for _, r := range t.Rows {
		m := r.Columns[j].Summary
		if m.Std > 1e-9*math.Abs(m.Mean) {
			stds = append(stds, m.Std*s.factor)
		}
		if !math.IsNaN(m.Mean) {
			largest = max(largest, math.Abs(m.Mean)*s.factor)
		}
	}
	slices.Sort(stds)
	switch {
	case len(stds) > 0:
		s.decimals = 1 - exponent(stds[len(stds)/2])
	case s.factor == 1 && largest > 0:
		s.decimals = 3 - exponent(largest)
	}
	s.decimals = min(max(s.decimals, least), most)
	return s
}

// exponent returns the power of ten of the first digit: 0 for 3.7, -2 for 0.04.
func exponent(v float64) int { return int(math.Floor(math.Log10(v))) }

func (s scale) value(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	return fmt.Sprintf("%.*f", s.decimals, v*s.factor+0)
}

// signed writes a difference: +1.2, 0.0, -0.3.
func (s scale) signed(v float64) string {
	text := s.value(v)
	switch {
	case strings.Trim(text, "-0.") == "":
		return strings.TrimPrefix(text, "-")
	case v > 0:
		return "+" + text
	}
	return text
}

// spread writes mean ± standard deviation.
func (s scale) spread(m stat.Summary) string {
	if m.N < 2 {
		return s.value(m.Mean)
	}
	return s.value(m.Mean) + " ± " + s.value(m.Std)
}

// difference writes delta with its interval: +2.8 [-1.2, +6.8].
func (s scale) difference(c *stat.Comparison) string {
	if c == nil || c.N == 0 {
		return "–"
	}
	text := s.signed(c.Delta)
	if c.Interval.Method != stat.NoMethod {
		text += fmt.Sprintf(" [%s, %s]", s.signed(c.Interval.Low), s.signed(c.Interval.High))
	}
	return text
}

// pValue writes a probability with three decimals.
func pValue(p float64) string {
	switch {
	case math.IsNaN(p):
		return "–"
	case p < 0.0005:
		return "<0.001"
	}
	return fmt.Sprintf("%.3f", p)
}

// heading names a metric at the head of a column, with the direction that is better and the unit: top1 ↑ %. It says the
// evaluation where the table's metrics are of several.
func heading(t *ablation.Table, j int, s scale) string {
	m := t.Metrics[j]
	name := metric.Short(strings.TrimPrefix(m.Name, commonSource(t)))
	switch m.Direction {
	case metric.Up:
		name += " ↑"
	case metric.Down:
		name += " ↓"
	}
	if s.unit != "" {
		name += " " + s.unit
	}
	return name
}

// commonSource returns the beginning that the names of all metrics share: eval/emoji/.
func commonSource(t *ablation.Table) string {
	names := make([]string, len(t.Metrics))
	for i, m := range t.Metrics {
		names[i] = m.Name
	}
	return metric.CommonSource(names)
}

func percentOf(level float64) string { return Number(100*level) + " %" }
