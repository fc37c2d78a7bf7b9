package report

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"tandem/core/fault"
	"tandem/core/results/ablation"
)

// The formats of an ablation besides Text, JSON and CSV.
const (
	Markdown Format = "markdown" // GitHub's
	LaTeX    Format = "latex"    // tables with booktabs, UTF-8 free
	HTML     Format = "html"     // a fragment; AblationHTML says which classes it has
)

// AblationFormats lists all that Ablation writes.
var AblationFormats = []Format{Text, Markdown, LaTeX, CSV, JSON, HTML}

// Ablation writes the table of an experiment. Text, Markdown, LaTeX and HTML hold the same parts, as far as there is
// something to say: the variants, their values before any trial could be stopped, their predictions, the effects of the factors, the cells that do not count. CSV has
// a row for each variant and metric, JSON all there is, both with exact numbers: shares as fractions of 1.
//
// Text on a terminal is as wide as it: columns are left out, those of other metrics first, and said so.
func Ablation(w io.Writer, format Format, t *ablation.Table) error {
	switch format {
	case JSON:
		return ablationJSON(w, t)
	case CSV:
		return ablationCSV(w, t)
	case Text, "":
		return ablationText(w, t)
	case Markdown:
		return ablationMarkdown(w, t)
	case LaTeX:
		return ablationLaTeX(w, t)
	case HTML:
		return AblationHTML(w, t)
	}
	return fault.New(fault.Invalid, "unknown output format %q", format).WithHint("%s", joinFormats(AblationFormats))
}

func joinFormats(formats []Format) string {
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = string(f)
	}
	return strings.Join(names, ", ")
}

// sheet holds a part of an ablation's report, before it has a format.
type sheet struct {
	Class   string // main, check, points, predictions, effects or absent
	Title   string
	Columns []column
	Rows    []line
	Notes   []string // below the rows; the only content where there are none
}

// column heads the entries below it.
type column struct {
	Name  string
	Right bool
	spare int // where there is no room columns are left out in ascending order; 0: never
}

// line holds a row of a sheet.
type line struct {
	Class   string
	Entries []entry
}

// entry holds a cell of a sheet: Text is a name or words, or else Number is set and Text is made of digits, signs and brackets.
type entry struct {
	Text   string
	Number bool
	Best   bool
	Marks  string // of significant and its like
	Class  string // better, worse, none or unknown: for colours
}

// The marks.
const (
	bestMark    = "*" // where there is no bold
	significant = "†" // better or worse
	within      = "~" // inside the noise floor
	flattered   = "‡" // some seeds are lost
)

func words(text string) entry  { return entry{Text: text} }
func figure(text string) entry { return entry{Text: text, Number: true} }

// sheets makes the parts of a table. The first is never empty.
func sheets(t *ablation.Table) []sheet {
	all := mainSheets(t)
	for _, s := range []sheet{checkSheet(t), pointSheet(t), predictionSheet(t), effectSheet(t), absentSheet(t)} {
		if len(s.Rows)+len(s.Notes) > 0 {
			all = append(all, s)
		}
	}
	return all
}

// headline says in a sentence what the table is of.
func headline(t *ablation.Table) string {
	if s := t.Search; s != nil {
		parts := []string{fmt.Sprintf("search: %s tried, %s decides", Plural(s.Tried, "point"), t.Metrics[0].Name)}
		if s.Winner != "" && t.HasBaseline {
			parts = append(parts, fmt.Sprintf("%s (%s) compared with %s under fresh seeds", s.Winner, s.Best, t.Baseline))
		}
		if lost := LostCells(t); lost != "" {
			parts = append(parts, lost)
		}
		return strings.Join(parts, "; ")
	}
	variants := 0
	for _, r := range t.Rows {
		if r.Role != ablation.IsRepeat {
			variants++
		}
	}
	parts := []string{fmt.Sprintf("%s, %s", Plural(variants, "variant"), seedList(t.Seeds))}
	if t.Design != "" {
		parts[0] = t.Design + ": " + parts[0]
	}
	parts = append(parts, t.Metrics[0].Name+" decides")
	if t.HasBaseline {
		parts = append(parts, "compared with "+cmp.Or(t.Baseline, "– (runs without a variant)"))
	}
	if lost := LostCells(t); lost != "" {
		parts = append(parts, lost)
	}
	return strings.Join(parts, "; ")
}

// LostCells says what became of the cells that do not count: "UNFINISHED: 3 of 20 cells are missing; LOST: 1 failed".
func LostCells(t *ablation.Table) string {
	var waiting, lost []string
	n, m := 0, 0
	for _, s := range []ablation.State{ablation.Running, ablation.Interrupted, ablation.Missing, ablation.Failed, ablation.Stopped, ablation.NoValue, ablation.Tainted} {
		switch count := t.Gone[s]; {
		case count == 0:
		case s.Unfinished():
			waiting, n = append(waiting, fmt.Sprintf("%d %s", count, s)), n+count
		default:
			lost, m = append(lost, fmt.Sprintf("%d %s", count, s)), m+count
		}
	}
	var parts []string
	if n > 0 {
		parts = append(parts, fmt.Sprintf("UNFINISHED, %d of %d cells are still to come (%s)", n, t.Cells, strings.Join(waiting, ", ")))
	}
	if m > 0 {
		parts = append(parts, fmt.Sprintf("LOST, %d of %d cells (%s)", m, t.Cells, strings.Join(lost, ", ")))
	}
	return strings.Join(parts, "; ")
}

// seedList names seeds, or counts them where they are many.
func seedList(seeds []int64) string {
	const most = 10
	if len(seeds) > most {
		return fmt.Sprintf("%d seeds", len(seeds))
	}
	names := make([]string, len(seeds))
	for i, s := range seeds {
		names[i] = fmt.Sprint(s)
	}
	if len(seeds) == 1 {
		return "seed " + names[0]
	}
	return "seeds " + strings.Join(names, ", ")
}

// Plural writes a number of things: 1 seed, 2 seeds.
func Plural(n int, word string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, word)
	}
	return fmt.Sprintf("%d %ss", n, word)
}
