package bisect

import (
	"context"
	"math"

	"tandem/core/experiment/sweep"
	"tandem/core/results"
	"tandem/core/results/ablation"
	"tandem/core/results/metric"
	"tandem/core/results/store"
	"tandem/core/results/study"
)

// Report says what differs between two versions.
type Report struct {
	Experiment string       `json:"experiment"`
	Plugin     string       `json:"plugin"`
	Metric     string       `json:"metric"`
	Better     string       `json:"better"` // up, down or none
	A          Version      `json:"a"`
	B          Version      `json:"b"`
	Seeds      []Seed       `json:"seeds"`
	N          int          `json:"n"`          // seeds that both have a value of
	Difference store.Number `json:"difference"` // mean of B − A
	Level      float64      `json:"level"`
	Low        store.Number `json:"ci_low"`
	High       store.Number `json:"ci_high"`
	P          store.Number `json:"p"`
	Verdict    string       `json:"verdict"`
	Reason     string       `json:"reason"`
	Notes      []string     `json:"notes"`
}

// Seed holds what both versions gave under one seed.
type Seed struct {
	Seed       int64        `json:"seed"`
	RunA       string       `json:"run_a"`
	RunB       string       `json:"run_b"`
	StateA     string       `json:"status_a"`
	StateB     string       `json:"status_b"`
	A          store.Number `json:"a"`
	B          store.Number `json:"b"`
	Difference store.Number `json:"difference"`
	Compared   int          `json:"points_compared"` // of the loss and the metric, at steps that both have
	// First is where the recorded curves part; nil where the bits of all points that were compared are equal.
	First *Parting `json:"first_difference"`
}

// Parting says at which step two curves have other bits.
type Parting struct {
	Metric string       `json:"metric"`
	Step   int          `json:"step"`
	A      store.Number `json:"a"`
	B      store.Number `json:"b"`
}

// Report reads what was recorded of a comparison. Versions whose trials have not all ended get no verdict.
func (c *Comparison) Report(ctx context.Context, r *store.Reader, level float64) (*Report, error) {
	name := c.Sweep.Base.Name
	t, err := study.Table(ctx, r, name, study.Options{Metrics: []string{c.Metric}, Level: level})
	if err != nil {
		return nil, err
	}
	out := &Report{Experiment: name, Plugin: c.A.Plugin, Metric: c.Metric, A: c.A, B: c.B, Level: level, Notes: t.Notes,
		Better: t.Metrics[0].Direction.String()}
	nan := store.Number(math.NaN())
	out.Difference, out.Low, out.High, out.P = nan, nan, nan, nan
	var values [2]map[int64]float64
	for _, row := range t.Rows {
		i := 0
		if row.Variant != sweep.Baseline {
			i = 1
		}
		column := row.Columns[0]
		values[i] = column.Values
		if column.Comparison != nil {
			k := column.Comparison
			out.N, out.Difference = k.N, store.Number(k.Delta)
			out.Low, out.High, out.P = store.Number(k.Interval.Low), store.Number(k.Interval.High), store.Number(k.P)
		}
		if column.Judgement != nil {
			out.Verdict, out.Reason = string(column.Judgement.Verdict), column.Judgement.Reason(*column.Comparison)
		}
	}
	cells, err := r.Cells(ctx, name)
	if err != nil {
		return nil, err
	}
	out.Seeds = c.seeds(cells, values, t.Absent)
	for i := range out.Seeds {
		s := &out.Seeds[i]
		if s.RunA == "" || s.RunB == "" {
			continue
		}
		if s.First, s.Compared, err = firstDifference(ctx, r, s.RunA, s.RunB, c.Metric); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// seeds puts the cells of both versions side by side.
func (c *Comparison) seeds(cells []results.Cell, values [2]map[int64]float64, absent []ablation.Absent) []Seed {
	at, list := map[int64]int{}, []Seed(nil)
	nan := store.Number(math.NaN())
	for _, trial := range c.Sweep.Trials {
		seed := int64(trial.Seed)
		if _, known := at[seed]; !known {
			at[seed] = len(list)
			list = append(list, Seed{Seed: seed, A: nan, B: nan, Difference: nan})
		}
	}
	for _, cell := range cells {
		i, ours := at[cell.Seed]
		if !ours {
			continue
		}
		s := &list[i]
		run, state, value, which := &s.RunA, &s.StateA, &s.A, 0
		if cell.Variant != sweep.Baseline {
			run, state, value, which = &s.RunB, &s.StateB, &s.B, 1
		}
		*run, *state = cell.RunID, cell.Status
		for _, a := range absent {
			if a.Variant == cell.Variant && a.Seed == cell.Seed {
				*state = string(a.State)
			}
		}
		if v, has := values[which][cell.Seed]; has {
			*value = store.Number(v)
		}
		s.Difference = s.B - s.A
	}
	return list
}

// firstDifference returns where the curves of the loss or of a metric of two runs part, nil where they do not, and how many
// points it compared.
func firstDifference(ctx context.Context, r *store.Reader, a, b, deciding string) (first *Parting, compared int, err error) {
	names := []string{metric.TrainLoss}
	if deciding != metric.TrainLoss {
		names = append(names, deciding)
	}
	for _, name := range names {
		ca, err := r.Curve(ctx, a, name)
		if err != nil {
			return nil, 0, err
		}
		cb, err := r.Curve(ctx, b, name)
		if err != nil {
			return nil, 0, err
		}
		p, n := part(name, ca, cb)
		if compared += n; p != nil && (first == nil || p.Step < first.Step) {
			first = p
		}
	}
	return first, compared, nil
}

// part returns the first step at which two curves have other bits, and at how many steps both have a value.
func part(name string, a, b results.Curve) (first *Parting, compared int) {
	of := map[int]float64{}
	for _, p := range b {
		of[p.Step] = p.Value
	}
	for _, p := range a {
		v, both := of[p.Step]
		if !both {
			continue
		}
		compared++
		same := math.Float64bits(v) == math.Float64bits(p.Value) || math.IsNaN(v) && math.IsNaN(p.Value)
		if !same && first == nil {
			first = &Parting{name, p.Step, store.Number(p.Value), store.Number(v)}
		}
	}
	return first, compared
}
