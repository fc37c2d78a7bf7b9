package report

import (
	"io"
	"maps"
	"math"
	"slices"

	"tandem/core/results/ablation"
	"tandem/core/results/metric"
	"tandem/core/results/stat"
	"tandem/core/results/store"
)

func ablationCSV(w io.Writer, t *ablation.Table) error {
	columns := []string{"experiment", "variant", "role", "same_as", "rank", "metric", "n", "mean", "std", "min", "max", "best", "cells", "stopped",
		"pairs", "delta", "delta_std", "ci_low", "ci_high", "level", "method", "test", "p", "p_holm", "tests", "verdict", "noise_floor",
		"lost", "waiting", "direction", "delta_unpaired", "df", "seed_correlation",
		"check_n", "check_mean", "check_pairs", "check_delta", "check_ci_low", "check_ci_high", "check_p_holm", "check_verdict"}
	for _, f := range t.Factors {
		columns = append(columns, "level_"+f.Name)
	}
	plain := len(columns) - len(t.Factors)
	var rows [][]any
	for _, r := range t.Rows {
		for j, c := range r.Columns {
			m := c.Summary
			row := []any{t.Name, r.Variant, r.Role, optionalName(r.Same, r.HasSame), optionalRank(r.Rank), t.Metrics[j].Name, m.N,
				finiteOrNil(m.Mean), finiteOrNil(m.Std), finiteOrNil(m.Min), finiteOrNil(m.Max), c.Best, r.Cells, r.Stopped}
			if d := c.Comparison; d != nil {
				row = append(row, d.N, finiteOrNil(d.Delta), finiteOrNil(d.Std), finiteOrNil(d.Interval.Low), finiteOrNil(d.Interval.High), d.Interval.Level, d.Interval.Method, d.Test,
					finiteOrNil(d.P), finiteOrNil(c.Judgement.P), c.Judgement.Tests, c.Judgement.Verdict, finiteOrNil(c.Floor))
			} else {
				row = append(row, make([]any, 13)...)
			}
			row = append(row, r.Lost, r.Waiting, t.Metrics[j].Direction)
			if d := c.Comparison; d != nil {
				row = append(row, finiteOrNil(c.Apart), finiteOrNil(d.DF), finiteOrNil(d.Correlation))
			} else {
				row = append(row, make([]any, 3)...)
			}
			if at := checkOf(t, r.Variant); at != nil && j == 0 {
				row = append(row, at.Summary.N, finiteOrNil(at.Summary.Mean))
				if d := at.Comparison; d != nil {
					row = append(row, d.N, finiteOrNil(d.Delta), finiteOrNil(d.Interval.Low), finiteOrNil(d.Interval.High), finiteOrNil(at.Judgement.P), at.Judgement.Verdict)
				}
			}
			row = append(row, make([]any, plain-len(row))...)
			for _, f := range t.Factors {
				level, has := r.Levels[f.Name]
				row = append(row, optionalName(level, has))
			}
			rows = append(rows, row)
		}
	}
	return Rows(w, CSV, columns, rows)
}

// checkOf returns a variant's row of the first check; nil without one.
func checkOf(t *ablation.Table, variant string) *ablation.CheckRow {
	if t.Check == nil {
		return nil
	}
	for i := range t.Check.Rows {
		if t.Check.Rows[i].Variant == variant {
			return &t.Check.Rows[i]
		}
	}
	return nil
}

// finiteOrNil returns v, nil for NaN.
func finiteOrNil(v float64) *float64 {
	if math.IsNaN(v) {
		return nil
	}
	return &v
}

func optionalName(name string, has bool) *string {
	if !has {
		return nil
	}
	return &name
}

func optionalRank(rank int) *int {
	if rank == 0 {
		return nil
	}
	return &rank
}

type jsonAblation struct {
	Name        string                 `json:"name"`
	Description string                 `json:"description"`
	Design      string                 `json:"design"`
	Baseline    *string                `json:"baseline"`
	Level       float64                `json:"level"`
	Alpha       float64                `json:"alpha"`
	Tests       int                    `json:"tests"`
	Analysis    string                 `json:"analysis"`
	Cells       int                    `json:"cells"`
	Gone        map[ablation.State]int `json:"gone"`
	Look        *jsonLook              `json:"look"`
	Pairing     *float64               `json:"pairing_share"`
	NoIntervals bool                   `json:"no_intervals"`
	Seeds       []int64                `json:"seeds"`
	Metrics     []jsonMetric           `json:"metrics"`
	Variants    []jsonVariant          `json:"variants"`
	Absent      []jsonAbsent           `json:"absent"`
	Effects     jsonEffects            `json:"effects"`
	Noise       *jsonNoise             `json:"noise"`
	Check       *jsonCheck             `json:"check"` // null where no rule stops trials
	Predicted   *jsonPredicted         `json:"predicted"`
	Search      *jsonSearch            `json:"search"` // null: another design
	Notes       []string               `json:"notes"`
}

type jsonSearch struct {
	Tried   int      `json:"tried"`
	Of      int      `json:"of"`    // 0: no limit
	Hours   float64  `json:"hours"` // 0: no limit
	Over    bool     `json:"over"`
	Lost    int      `json:"lost"`
	Best    string   `json:"best"`
	Reached *float64 `json:"reached"`
	Winner  string   `json:"winner"`
	Fresh   *float64 `json:"fresh_mean"`
	Seeds   int      `json:"fresh_seeds"`
	Shrunk  *float64 `json:"shrunk"`
}

type jsonCheck struct {
	After    string         `json:"after"`
	From     int            `json:"first_step"`
	To       int            `json:"last_step"`
	Variants []jsonCheckRow `json:"variants"`
}

type jsonCheckRow struct {
	Variant string        `json:"variant"`
	Role    ablation.Role `json:"role"`
	jsonColumn
}

type jsonLook struct {
	Number int     `json:"number"`
	Of     int     `json:"of"`
	Seeds  int     `json:"seeds"`
	Next   int     `json:"next"`
	Share  float64 `json:"alpha_share"`
	Left   int     `json:"left_out"`
}

type jsonMetric struct {
	Name      string `json:"name"`
	Higher    bool   `json:"higher_is_better"`
	Direction string `json:"direction"` // up, down or none: which way is good
	Compared  bool   `json:"compared"`
}

type jsonVariant struct {
	Variant     string            `json:"variant"`
	Role        ablation.Role     `json:"role"`
	Levels      map[string]string `json:"levels"`
	Same        *string           `json:"same_as"`
	Rank        *int              `json:"rank"`
	Cells       int               `json:"cells"`
	Stopped     int               `json:"stopped"`
	Lost        int               `json:"lost"`
	Waiting     int               `json:"waiting"`
	Metrics     []jsonColumn      `json:"metrics"`
	Predictions *jsonPrediction   `json:"predictions"`
}

type jsonColumn struct {
	Metric     string          `json:"metric"`
	N          int             `json:"n"`
	Mean       *float64        `json:"mean"`
	Std        *float64        `json:"std"`
	Min        *float64        `json:"min"`
	Max        *float64        `json:"max"`
	Best       bool            `json:"best"`
	Values     []jsonValue     `json:"values"`
	Comparison *jsonComparison `json:"comparison"`
}

type jsonValue struct {
	Seed  int64   `json:"seed"`
	Value float64 `json:"value"`
}

type jsonComparison struct {
	N           int          `json:"n"`
	Unpaired    int          `json:"unpaired"`
	Delta       *float64     `json:"delta"`
	Std         *float64     `json:"std"`
	Low         *float64     `json:"ci_low"`
	High        *float64     `json:"ci_high"`
	Method      stat.Method  `json:"method"`
	Test        stat.Test    `json:"test"`
	P           *float64     `json:"p"`
	Holm        *float64     `json:"p_holm"`
	Verdict     stat.Verdict `json:"verdict"`
	Reason      string       `json:"reason"`
	Floor       *float64     `json:"noise_floor"`
	Apart       *float64     `json:"delta_unpaired"`
	DF          *float64     `json:"df"`
	Correlation *float64     `json:"seed_correlation"`
}

type jsonPrediction struct {
	Delta        float64      `json:"delta"`
	Examples     *float64     `json:"p_examples"`
	ExamplesHolm *float64     `json:"p_examples_holm"`
	Seeds        *float64     `json:"p_seeds"`
	SeedsHolm    *float64     `json:"p_seeds_holm"`
	BothHolm     *float64     `json:"p_both_holm"`
	Verdict      stat.Verdict `json:"verdict"`
	BySeed       []jsonSeed   `json:"by_seed"`
}

type jsonSeed struct {
	Seed         int64   `json:"seed"`
	OnlyVariant  int     `json:"only_variant"`
	OnlyBaseline int     `json:"only_baseline"`
	Exact        float64 `json:"mcnemar_exact"`
	MidP         float64 `json:"mcnemar_mid_p"`
}

type jsonAbsent struct {
	Variant string         `json:"variant"`
	Seed    int64          `json:"seed"`
	State   ablation.State `json:"state"`
	RunID   string         `json:"run_id,omitempty"`
	Note    string         `json:"note,omitempty"`
}

type jsonEffects struct {
	Crossed bool       `json:"crossed"`
	Why     string     `json:"why,omitempty"`
	Terms   []jsonTerm `json:"terms"`
}

type jsonTerm struct {
	Factors         []string               `json:"factors"`
	Cells           int                    `json:"cells"`
	Seeds           int                    `json:"seeds"`
	SumSquares      float64                `json:"sum_squares"`
	DF              int                    `json:"df"`
	ResidualSquares float64                `json:"residual_sum_squares"`
	ResidualDF      int                    `json:"residual_df"`
	F               store.Number           `json:"f"`
	P               *float64               `json:"p"`
	Holm            *float64               `json:"p_holm"`
	Eta             *float64               `json:"eta_squared"`
	Partial         *float64               `json:"partial_eta_squared"`
	Rows            []string               `json:"verdict_of"`
	Verdict         ablation.EffectVerdict `json:"verdict"`
}

type jsonNoise struct {
	Variant string   `json:"variant"`
	First   int      `json:"n_baseline"`
	Second  int      `json:"n_repeat"`
	Delta   *float64 `json:"delta"`
	Std     *float64 `json:"std"`
	P       *float64 `json:"p"`
	Floor   *float64 `json:"floor"`
}

type jsonPredicted struct {
	Of       string `json:"of"`
	Examples int    `json:"examples"`
	Tests    int    `json:"tests"`
}

func ablationJSON(w io.Writer, t *ablation.Table) error {
	o := jsonAblation{
		Name: t.Name, Description: t.Description, Design: t.Design, Baseline: optionalName(t.Baseline, t.HasBaseline), Level: t.Level, Alpha: t.Alpha,
		Tests: t.Tests, Analysis: string(t.Analysis), Cells: t.Cells, Gone: t.Gone, Look: (*jsonLook)(t.Look), Pairing: finiteOrNil(t.Pairing.Share), NoIntervals: t.NoIntervals, Seeds: t.Seeds, Absent: []jsonAbsent{}, Notes: append([]string{}, t.Notes...),
		Effects: jsonEffects{t.Effects.Crossed, t.Effects.Why, []jsonTerm{}}, Predicted: (*jsonPredicted)(t.Predicted),
	}
	for _, m := range t.Metrics {
		o.Metrics = append(o.Metrics, jsonMetric{m.Name, m.Direction == metric.Up, m.Direction.String(), m.Compared})
	}
	for _, r := range t.Rows {
		o.Variants = append(o.Variants, variantJSON(t, r))
	}
	for _, a := range t.Absent {
		o.Absent = append(o.Absent, jsonAbsent(a))
	}
	for _, e := range t.Effects.Terms {
		o.Effects.Terms = append(o.Effects.Terms, jsonTerm{e.Factors, e.Levels, e.Seeds, e.SumSquares, e.DF, e.Residual.SumSquares, e.Residual.DF,
			store.Number(e.F), finiteOrNil(e.Term.P), finiteOrNil(e.P), finiteOrNil(e.EtaSquared), finiteOrNil(e.PartialEtaSq), e.Rows, e.Verdict})
	}
	if n := t.Noise; n != nil {
		o.Noise = &jsonNoise{n.Variant, n.First.N, n.Second.N, finiteOrNil(n.Delta), finiteOrNil(n.Std), finiteOrNil(n.P), finiteOrNil(n.Floor)}
	}
	if q := t.Search; q != nil {
		o.Search = &jsonSearch{q.Tried, q.Of, q.Hours, q.Over, q.Lost, q.Best, finiteOrNil(q.Reached), q.Winner, finiteOrNil(q.Fresh.Mean), q.Fresh.N, finiteOrNil(q.Shrunk)}
	}
	if c := t.Check; c != nil {
		o.Check = &jsonCheck{After: c.After, From: c.From, To: c.To}
		for _, r := range c.Rows {
			o.Check.Variants = append(o.Check.Variants, jsonCheckRow{r.Variant, r.Role, columnJSON(t, 0, r.Column)})
		}
	}
	return Value(w, o)
}

func variantJSON(t *ablation.Table, r ablation.Row) jsonVariant {
	v := jsonVariant{Variant: r.Variant, Role: r.Role, Levels: r.Levels, Same: optionalName(r.Same, r.HasSame), Rank: optionalRank(r.Rank), Cells: r.Cells, Stopped: r.Stopped, Lost: r.Lost, Waiting: r.Waiting}
	if v.Levels == nil {
		v.Levels = map[string]string{}
	}
	for j, c := range r.Columns {
		v.Metrics = append(v.Metrics, columnJSON(t, j, c))
	}
	if p := r.Predictions; p != nil {
		v.Predictions = &jsonPrediction{p.Crossed.Delta, finiteOrNil(p.Crossed.Examples.P), finiteOrNil(p.ExamplesP), finiteOrNil(p.Crossed.Seeds.P), finiteOrNil(p.SeedsP), finiteOrNil(p.BothP), p.Verdict, nil}
		for _, s := range p.Seeds {
			v.Predictions.BySeed = append(v.Predictions.BySeed, jsonSeed{s.Seed, s.OnlyA, s.OnlyB, s.Exact, s.MidP})
		}
	}
	return v
}

func columnJSON(t *ablation.Table, j int, c ablation.Column) jsonColumn {
	m := c.Summary
	column := jsonColumn{Metric: t.Metrics[j].Name, N: m.N, Mean: finiteOrNil(m.Mean), Std: finiteOrNil(m.Std), Min: finiteOrNil(m.Min), Max: finiteOrNil(m.Max), Best: c.Best, Values: []jsonValue{}}
	for _, seed := range slices.Sorted(maps.Keys(c.Values)) {
		column.Values = append(column.Values, jsonValue{seed, c.Values[seed]})
	}
	if d := c.Comparison; d != nil {
		column.Comparison = &jsonComparison{d.N, d.Unpaired, finiteOrNil(d.Delta), finiteOrNil(d.Std), finiteOrNil(d.Interval.Low), finiteOrNil(d.Interval.High), d.Interval.Method, d.Test,
			finiteOrNil(d.P), finiteOrNil(c.Judgement.P), c.Judgement.Verdict, c.Judgement.Reason(*d), finiteOrNil(c.Floor), finiteOrNil(c.Apart), finiteOrNil(d.DF), finiteOrNil(d.Correlation)}
	}
	return column
}
