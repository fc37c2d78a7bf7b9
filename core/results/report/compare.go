package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"tandem/core/results/metric"
	"tandem/core/results/store"
)

// Compare writes runs side by side: what they are, their final metrics with differences from the
// first run, and the configuration keys that differ. CSV has one row per run and metric.
func Compare(w io.Writer, format Format, c *store.Comparison) error {
	switch format {
	case JSON:
		return Value(w, c)
	case CSV:
		var rows [][]any
		for _, m := range c.Metrics {
			for i, v := range m.Values {
				if v != nil {
					rows = append(rows, []any{c.Runs[i].ID, c.Runs[i].Experiment, c.Runs[i].Variant, c.Runs[i].Seed, m.Metric, v})
				}
			}
		}
		return Rows(w, CSV, []string{"run_id", "experiment", "variant", "seed", "metric", "last"}, rows)
	}
	header := []string{""}
	right := []bool{false}
	identity := [][]string{{"experiment"}, {"variant"}, {"seed"}, {"status"}, {"time"}, {"images/s"}}
	for _, r := range c.Runs {
		header, right = append(header, r.ID), append(right, true)
		for i, v := range []string{r.Experiment, dash(r.Variant), fmt.Sprint(r.Seed), r.Status, Duration(r.DurationS), optional(r.ImagesPerS, rate)} {
			identity[i] = append(identity[i], v)
		}
	}
	if err := section(w, header, identity, right); err != nil {
		return err
	}
	if err := compareFinal(w, c); err != nil {
		return err
	}
	if len(c.Params) == 0 {
		_, err := io.WriteString(w, "The configurations are the same.\n")
		return err
	}
	cells := make([][]string, len(c.Params))
	for i, p := range c.Params {
		cells[i] = []string{p.Key}
		for _, v := range p.Values {
			cells[i] = append(cells[i], cell(plain(v)))
		}
	}
	return Table(w, slices.Concat([]string{"config"}, header[1:]), cells, right)
}

// compareFinal writes the metrics: two runs with their difference in a column of its own, more with
// the difference from the first behind each value.
func compareFinal(w io.Writer, c *store.Comparison) error {
	if len(c.Metrics) == 0 {
		return nil
	}
	metrics := slices.Clone(c.Metrics)
	slices.SortFunc(metrics, func(a, b store.MetricComparison) int { return metric.Compare(a.Metric, b.Metric) })
	header := []string{"metric"}
	right := []bool{false}
	for _, r := range c.Runs {
		header, right = append(header, r.ID), append(right, true)
	}
	two := len(c.Runs) == 2
	if two {
		header, right = append(header, "difference"), append(right, true)
	}
	cells := make([][]string, len(metrics))
	for i, m := range metrics {
		cells[i] = []string{m.Metric}
		for j, v := range m.Values {
			text := "–"
			if v != nil {
				text = Metric(m.Metric, float64(*v))
				if d := difference(m, j); j > 0 && !two && d != "" {
					text += " (" + d + ")"
				}
			}
			cells[i] = append(cells[i], text)
		}
		if two {
			cells[i] = append(cells[i], difference(m, 1))
		}
	}
	return section(w, header, cells, right)
}

// difference writes value j less value 0 with its sign, "" when one is missing. Shares differ by points of a hundredth.
func difference(m store.MetricComparison, j int) string {
	if m.Values[0] == nil || m.Values[j] == nil {
		return ""
	}
	d := float64(*m.Values[j]) - float64(*m.Values[0])
	var text string
	if metric.IsShare(m.Metric) {
		text = strings.TrimSuffix(Percent(d), " %") + " pt"
	} else {
		text = Metric(m.Metric, d)
	}
	if d > 0 {
		return "+" + text
	}
	return text
}
