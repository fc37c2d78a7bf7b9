package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"tandem/core/results/ablation"
)

// pointSheet has a row for each point of a search, in the order tried: its levels, what it reached and the best up to it.
func pointSheet(t *ablation.Table) sheet {
	s := sheet{Class: "points", Columns: []column{{Name: "point"}}}
	if t.Search == nil {
		return s
	}
	sc := scaleOf(t, 0)
	for i, f := range t.Factors {
		s.Columns = append(s.Columns, column{Name: f.Name, Right: len(f.Levels) == 0, spare: len(t.Factors) - i})
	}
	s.Columns = append(s.Columns, column{Name: heading(t, 0, sc), Right: true}, column{Name: "best so far", Right: true})
	conditional := false
	for _, p := range t.Search.Points {
		i := slices.IndexFunc(t.Rows, func(r ablation.Row) bool { return r.Variant == p.Variant })
		r := t.Rows[i]
		l := line{Class: string(r.Role), Entries: []entry{words(p.Variant)}}
		for _, f := range t.Factors {
			level, has := r.Levels[f.Name]
			conditional = conditional || !has
			if !has {
				level = "—"
			}
			l.Entries = append(l.Entries, entry{Text: level, Number: len(f.Levels) == 0 && has})
		}
		value := meanEntry(r, 0, 0, sc)
		if r.Waiting+r.Lost > 0 {
			value = words(becameOf(r))
		}
		value.Best = p.Variant == t.Search.Best
		now := words("–")
		if !math.IsNaN(p.BestNow) {
			now = figure(sc.value(p.BestNow))
		}
		s.Rows = append(s.Rows, line{l.Class, append(l.Entries, value, now)})
	}
	s.Title = "Points of the search, in the order tried"
	if conditional {
		s.Notes = append(s.Notes, "— the factor does not apply.")
	}
	if len(s.Rows) > 0 && t.Search.Best != "" {
		s.Notes = append(s.Notes, bestMark+" the best, which is run again under fresh seeds.")
	}
	if t.Search.Lost > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("%s failed or ended early, and counted as bad.", Plural(t.Search.Lost, "point")))
	}
	return s
}

// becameOf says why a point has no value.
func becameOf(r ablation.Row) string {
	switch {
	case r.Stopped > 0:
		return "stopped early"
	case r.Lost > 0:
		return "lost"
	}
	return "under way"
}

// searchNotes says how far a search came, and what the best of many is worth.
func searchNotes(t *ablation.Table) (notes []string) {
	s := t.Search
	if s == nil {
		return nil
	}
	sc := scaleOf(t, 0)
	if !s.Over {
		notes = append(notes, fmt.Sprintf("UNFINISHED: the search tried %s.", triedOf(s)))
	}
	if s.Best == "" {
		return notes
	}
	text := fmt.Sprintf("%s is the best of %s, with %s. The best of many is partly lucky:", s.Best, Plural(s.Tried, "point"), withUnit(sc, s.Reached))
	switch {
	case !math.IsNaN(s.Shrunk) && s.Fresh.N > 0:
		change := withUnit(sc, s.Shrunk) + " worse"
		if s.Shrunk < 0 {
			change = withUnit(sc, -s.Shrunk) + " better"
		}
		text += fmt.Sprintf(" under %s it has %s, which is %s. Only the fresh seeds are compared with the baseline.", Plural(s.Fresh.N, "fresh seed"), withUnit(sc, s.Fresh.Mean), change)
	default:
		text += " until fresh seeds confirm it, this figure flatters it."
	}
	return append(notes, text)
}

// triedOf says how many points were tried of how many.
func triedOf(s *ablation.Search) string {
	var of []string
	if s.Of > 0 {
		of = append(of, fmt.Sprintf("%d", s.Of))
	}
	if s.Hours > 0 {
		of = append(of, fmt.Sprintf("as many as %g hours hold", s.Hours))
	}
	return fmt.Sprintf("%d points of %s", s.Tried, strings.Join(of, " or "))
}

// confirming returns the table without the points of its search, where there is something besides.
func confirming(t *ablation.Table) *ablation.Table {
	isPoint := func(r ablation.Row) bool { return r.Role == ablation.IsTrial }
	if t.Search == nil || !slices.ContainsFunc(t.Rows, func(r ablation.Row) bool { return !isPoint(r) }) {
		return t
	}
	rest := *t
	rest.Rows = slices.DeleteFunc(slices.Clone(t.Rows), isPoint)
	return &rest
}
