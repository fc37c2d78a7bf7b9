package report

import (
	"fmt"
	"io"
	"strings"

	"tandem/core/results/metric"
	"tandem/core/results/store"
)

// showSources shows the sources of a mixture and how much was seen of each; nothing of a source that is alone.
func showSources(w io.Writer, d *store.RunDetail) error {
	if len(d.Sources) < 2 {
		return nil
	}
	sum, seen := 0.0, 0
	for _, s := range d.Sources {
		sum, seen = sum+s.Weight, seen+s.Seen
	}
	var cells [][]string
	for _, s := range d.Sources {
		share := "by size"
		switch {
		case s.Quota > 0:
			share = fmt.Sprintf("%d a batch", s.Quota)
		case s.Weight > 0:
			share = fmt.Sprintf("weight %.3g of %.3g", s.Weight, sum)
		}
		part := "–"
		if seen > 0 {
			part = fmt.Sprintf("%.1f %%", 100*float64(s.Seen)/float64(seen))
		}
		cells = append(cells, []string{s.Name, share, Count(float64(s.Samples)), Count(float64(s.Seen)), part, fmt.Sprintf("%.2f", s.Epochs()), fmt.Sprint(s.Replaced)})
	}
	return section(w, []string{"source", "share", "samples", "seen", "of all", "epochs", "replaced"}, cells, []bool{false, false, true, true, true, true, true})
}

// showEvaluations tells what was measured of the run's checkpoints after the fact.
func showEvaluations(w io.Writer, d *store.RunDetail) error {
	if len(d.Evaluations) == 0 {
		return nil
	}
	cells := make([][]string, len(d.Evaluations))
	for i, e := range d.Evaluations {
		suite := e.Suite
		if suite == "" {
			suite = "the run's own"
		}
		cells[i] = []string{e.Name, suite, fmt.Sprint(e.Step), Minute(e.At), fmt.Sprint(e.Samples), fmt.Sprint(e.LeftOut)}
	}
	return section(w, []string{"evaluated later", "suite", "step", "when", "samples", "left out"}, cells, []bool{false, false, true, false, true, true})
}

// showSkips shows what fell out of the data, by reason.
func showSkips(w io.Writer, d *store.RunDetail) error {
	if len(d.Skips) == 0 {
		return nil
	}
	cells := make([][]string, len(d.Skips))
	for i, s := range d.Skips {
		cells[i] = []string{s.Role, strings.ReplaceAll(s.Stage, "_", " "), s.Reason, fmt.Sprint(s.N), s.First}
	}
	return section(w, []string{"data", "what", "reason", "n", "the first"}, cells, []bool{false, false, false, true, false})
}

// dataWait says how long a step waited for its batch in the mean, and which share of it that is.
func dataWait(d *store.RunDetail) string {
	s, ok := d.Metrics[metric.DataWaitMS]
	if !ok || d.StepMS == nil || *d.StepMS <= 0 {
		return "–"
	}
	ms := float64(s.Mean)
	return fmt.Sprintf("%s, %.2g %%", Duration(ms/1000), 100*ms / *d.StepMS)
}
