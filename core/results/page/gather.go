package page

import (
	"cmp"
	"context"
	"math"
	"slices"

	"tandem/core/results"
	"tandem/core/results/ablation"
	"tandem/core/results/store"
)

// mostDrawn limits how many variants have a colour of their own: more lines cannot be told apart.
const mostDrawn = 9

// Gather reads what the page of an analysed experiment shows. albums may be nil: then there are no pictures and no class names.
// made says when and by what. Errors are those of the source.
func Gather(ctx context.Context, src Source, albums Albums, t *ablation.Table, made string) (*Page, error) {
	p, err := GatherRuns(ctx, src, t, made)
	if err != nil {
		return nil, err
	}
	p.Outcome, err = outcome(ctx, src, albums, p)
	return p, err
}

// GatherRuns reads what Gather does, but for the predictions: the page has no Outcome.
func GatherRuns(ctx context.Context, src Source, t *ablation.Table, made string) (*Page, error) {
	p := &Page{Table: t, Made: made, Drawn: drawnVariants(t)}
	cells, err := src.Cells(ctx, t.Name)
	if err != nil {
		return nil, err
	}
	p.Cells = len(cells)
	var ids []string
	for _, c := range cells {
		if c.RunID != "" {
			ids = append(ids, c.RunID)
		}
	}
	details, err := src.Summaries(ctx, ids, t.Metrics[0].Name)
	if err != nil {
		return nil, err
	}
	for _, c := range cells {
		d := details[c.RunID]
		if d == nil { // none, or it was deleted meanwhile
			continue
		}
		r := newRun(c, d, t.Metrics[0].Name)
		if r.Done && !math.IsNaN(r.Value) {
			p.Done++
		}
		p.Runs = append(p.Runs, r)
	}
	if p.Curves, err = curves(ctx, src, p); err != nil {
		return nil, err
	}
	if p.Specs, err = specs(ctx, src, p); err != nil {
		return nil, err
	}
	p.Places, p.Warnings = environment(p.Runs)
	p.Warnings = append(p.Warnings, recordedWarnings(p.Runs)...)
	return p, nil
}

func newRun(c results.Cell, d *store.RunDetail, metric string) Run {
	r := Run{
		Variant: c.Variant, Seed: c.Seed, ID: d.ID, Status: d.Status, Done: c.Done, Started: d.StartedAt,
		Seconds: d.DurationS, DeviceHours: d.DurationS / 3600 * float64(max(1, d.Devices)), FLOPs: flops(d), Value: math.NaN(), detail: d,
	}
	if d.Parameters != nil {
		r.Parameters = *d.Parameters
	}
	if d.ImagesPerS != nil {
		r.ImagesPerS = *d.ImagesPerS
	}
	if s, has := d.Metrics[metric]; has && !math.IsInf(float64(s.Last), 0) {
		r.Value = float64(s.Last)
	}
	return r
}

// flops estimates the operations of a training: those of the forward passes of all samples seen, as the encoders state
// them, once for a tower that is frozen whole and three times, for the backward pass too, for one that is
// trained (Kaplan et al. 2020, §2.1). Evaluations are left out. 0 when an encoder states none.
func flops(d *store.RunDetail) float64 {
	if d.SamplesSeen == nil {
		return 0
	}
	sum := 0.0
	for _, tower := range []string{"image", "text"} {
		forward := number(d.Facts["flops."+tower])
		if !(forward > 0) {
			return 0
		}
		passes := 3.0
		if trained, known := d.Facts["parameters."+tower+".trained"]; known && number(trained) == 0 {
			passes = 1
		}
		sum += passes * forward
	}
	return sum * *d.SamplesSeen
}

// number returns a fact or parameter as a number; NaN for what is none.
func number(v any) float64 {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case float64:
		return v
	}
	return math.NaN()
}

// drawnVariants returns the variants with a colour: the baseline, then the best ones, in the order of the table.
func drawnVariants(t *ablation.Table) []string {
	var rows []ablation.Row
	for _, r := range t.Rows {
		if r.Role != ablation.IsRepeat && !r.HasSame && r.Columns[0].Summary.N > 0 {
			rows = append(rows, r)
		}
	}
	byRank := slices.Clone(rows)
	slices.SortStableFunc(byRank, func(x, y ablation.Row) int {
		if b, c := x.Role == ablation.IsBaseline, y.Role == ablation.IsBaseline; b != c {
			if b {
				return -1
			}
			return 1
		}
		return cmp.Compare(x.Rank, y.Rank)
	})
	if len(byRank) > mostDrawn {
		byRank = byRank[:mostDrawn]
	}
	var names []string
	for _, r := range rows {
		if slices.ContainsFunc(byRank, func(b ablation.Row) bool { return b.Variant == r.Variant }) {
			names = append(names, r.Variant)
		}
	}
	return names
}
