package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"tandem/core/results/ablation"
	"tandem/core/results/stat"
)

// checkSheet compares the variants where no rule can have stopped any of their trials yet.
func checkSheet(t *ablation.Table) sheet {
	s := sheet{Class: "check"}
	if t.Check == nil {
		return s
	}
	sc := scaleOf(t, 0)
	s.Columns = []column{{Name: "variant"}, {Name: "n", Right: true}, {Name: heading(t, 0, sc), Right: true},
		{Name: strings.TrimSpace("difference " + sc.delta), Right: true}, {Name: "p", Right: true, spare: otherMetrics + 1}, {Name: "verdict", spare: otherMetrics}}
	for _, r := range t.Check.Rows {
		row := ablation.Row{Variant: r.Variant, Role: r.Role, Columns: []ablation.Column{r.Column}}
		s.Rows = append(s.Rows, line{string(r.Role), append([]entry{words(dash(r.Variant)), figure(fmt.Sprint(r.Summary.N)), meanEntry(row, 0, 0, sc)}, comparisonEntries(row, 0, sc)...)})
	}
	s.Title = fmt.Sprintf("%s at the first check, %s, before any trial could be stopped", t.Metrics[0].Name, stepsOf(t.Check))
	s.Notes = []string{fmt.Sprintf("Here no luck has chosen among the seeds, so %s intervals hold; they say what variants differ by after %s, not at their end. p counts for these rows and those above together.",
		percentOf(t.Level), t.Check.After)}
	return s
}

func stepsOf(c *ablation.Check) string {
	if c.From == c.To {
		return fmt.Sprintf("step %d", c.From)
	}
	return fmt.Sprintf("steps %d to %d", c.From, c.To)
}

// predictionSheet compares the variants with the baseline example by example.
func predictionSheet(t *ablation.Table) sheet {
	s := sheet{Class: "predictions", Columns: []column{
		{Name: "variant"}, {Name: "seeds", Right: true, spare: 2}, {Name: "gained", Right: true}, {Name: "lost", Right: true},
		{Name: "p of each seed", Right: true, spare: 1}, {Name: "p examples", Right: true}, {Name: "p seeds", Right: true}, {Name: "on other examples", spare: 3},
	}}
	if t.Predicted == nil {
		return s
	}
	s.Title = fmt.Sprintf("Right or wrong on %s of %s, beside the baseline", Plural(t.Predicted.Examples, "example"), t.Predicted.Of)
	for _, r := range t.Rows {
		p := r.Predictions
		if p == nil || r.HasSame {
			continue
		}
		gained, lost, n := 0, 0, float64(len(p.Seeds))
		var each []float64
		for _, seed := range p.Seeds {
			gained, lost, each = gained+seed.OnlyA, lost+seed.OnlyB, append(each, seed.MidP)
		}
		span := pValue(each[0])
		if low, high := slices.Min(each), slices.Max(each); pValue(low) != pValue(high) {
			span = pValue(low) + "–" + pValue(high)
		}
		verdict := words("–")
		switch j := r.Columns[0].Judgement; {
		case p.Verdict.Claims():
			verdict = entry{Text: string(p.Verdict) + " too", Class: classOf(p.Verdict)}
		case j != nil && j.Verdict.Claims():
			verdict = words("not shown")
		}
		s.Rows = append(s.Rows, line{string(r.Role), []entry{
			words(dash(r.Variant)), figure(fmt.Sprint(len(p.Seeds))), figure(fmt.Sprintf("%.1f", float64(gained)/n)), figure(fmt.Sprintf("%.1f", float64(lost)/n)),
			figure(span), figure(pValue(p.ExamplesP)), figure(pValue(p.SeedsP)), verdict,
		}})
	}
	if len(s.Rows) > 0 {
		s.Notes = []string{
			"gained, lost: examples that only the variant, or only the baseline, has right, mean of the seeds.",
			"p of each seed: McNemar's mid-p, of the two models of one seed alone.",
			"p examples: would other examples say so of these trained models, after Holm over the variants; p seeds: would other seeds on these examples, by swapping whole seeds (under six never below 0.05), which the verdict above answers with more power.",
			fmt.Sprintf("on other examples: whether a verdict above holds for them too, p examples at most %s. What has no verdict above has none here.", Number(t.Alpha)),
		}
	}
	return s
}

// effectSheet makes the sheet of the analysis of variance.
func effectSheet(t *ablation.Table) sheet {
	e := t.Effects
	s := sheet{Class: "effects", Columns: []column{
		{Name: "factor"}, {Name: "cells", Right: true, spare: 1}, {Name: "seeds", Right: true, spare: 2},
		{Name: "F", Right: true}, {Name: "p", Right: true}, {Name: "η²", Right: true}, {Name: "verdict", spare: 3},
	}}
	for _, term := range e.Terms {
		f := "–"
		if !math.IsNaN(term.F) {
			f = fmt.Sprintf("%.2f (%d, %d)", term.F, term.DF, term.Residual.DF)
		}
		eta := share(term.EtaSquared)
		if term.Seeds < stat.MinSeeds { // of one seed a factor always explains everything
			eta = "–"
		}
		class := "unknown"
		switch term.Verdict {
		case ablation.HasEffect:
			class = ""
		case ablation.NoEffectShown:
			class = "none"
		}
		s.Rows = append(s.Rows, line{Entries: []entry{
			words(term.Name()), figure(fmt.Sprint(term.Levels)), figure(fmt.Sprint(term.Seeds)), figure(f), figure(pValue(term.P)), figure(eta),
			{Text: string(term.Verdict), Class: class},
		}})
	}
	title := "Effect of each factor on " + t.Metrics[0].Name
	switch {
	case len(s.Rows) > 0 && e.Crossed:
		s.Title, s.Notes = title, []string{"Analysis of variance of the whole grid with seeds as blocks, which takes for granted that seeds spread all cells alike; F with its degrees of freedom; p after Holm over everything in this table, the rows above included; η²: share of the variation."}
	case len(s.Rows) > 0:
		s.Title, s.Notes = title, []string{"Each factor beside the baseline's levels of the others: interactions are not seen. A factor's verdict and p are those of its rows above, which are tested once: one that differs is enough. F, of an analysis of variance with seeds as blocks that counts each run once, is not tested; η²: share of the variation."}
	}
	if slices.ContainsFunc(e.Terms, func(term ablation.Effect) bool { return len(term.Factors) > 1 && term.Verdict == ablation.HasEffect }) {
		s.Notes = append(s.Notes, "Factors interact: what one does on its own is an average over the levels of the others, which may describe no cell.")
	}
	switch {
	case e.Why != "" && len(s.Rows) == 0:
		s.Title, s.Notes = title, []string{"Not analysed: " + e.Why + "."}
	case e.Why != "":
		s.Notes = append(s.Notes, "Note: "+e.Why+".")
	}
	return s
}

func share(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	return fmt.Sprintf("%.2f", v)
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// absentSheet names the cells that are not in the statistics, those with the same fate together.
func absentSheet(t *ablation.Table) sheet {
	s := sheet{Class: "absent", Columns: []column{{Name: "variant"}, {Name: "seed"}, {Name: "state"}, {Name: "run", spare: 1}, {Name: "reason"}}}
	type fate struct {
		variant string
		state   ablation.State
		run     string
		note    string
	}
	var order []fate
	seeds := map[fate][]string{}
	for _, a := range t.Absent {
		f := fate{a.Variant, a.State, a.RunID, strings.Join(strings.Fields(a.Note), " ")}
		if seeds[f] == nil {
			order = append(order, f)
		}
		seeds[f] = append(seeds[f], fmt.Sprint(a.Seed))
	}
	for _, f := range order {
		s.Rows = append(s.Rows, line{strings.ReplaceAll(string(f.state), " ", "-"), []entry{
			words(dash(f.variant)), words(nameSome(seeds[f])), words(string(f.state)), words(dash(f.run)), words(dash(f.note)),
		}})
	}
	if len(s.Rows) > 0 {
		s.Title = fmt.Sprintf("Not in the statistics: %s", Plural(len(t.Absent), "cell"))
	}
	return s
}
