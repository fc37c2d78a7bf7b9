package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"tandem/core/experiment/schedule"
	"tandem/core/experiment/sweep"
	"tandem/core/results/report"
)

func (a *app) explainCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "explain SPEC",
		Short: "print a spec with every default, each value with where it was set, and its trials",
		Long: `Print a spec with every default, each value with where it was set, and the trials of its ablate block.
Every trial is checked; nothing is started.

--json and --csv give the values; with --trials, the trials.`,
		Args:    args(cobra.ExactArgs(1)),
		Example: "  runner explain experiments/quickstart.yaml --set train.lr=3e-4\n  runner explain experiments/pooling.yaml --trials --json",
	}
	set := a.setFlag(c)
	a.pluginFlags(c)
	a.formatFlags(c, true)
	trials := c.Flags().Bool("trials", false, "print the trials only")
	c.RunE = func(_ *cobra.Command, given []string) error {
		s, err := schedule.Load(a.lab(), given[0], *set)
		if err != nil {
			return err
		}
		if *trials {
			return a.printTrials(a.stdout, s)
		}
		if a.asJSON || a.asCSV {
			var rows [][]any
			for _, e := range s.Base.Entries() {
				rows = append(rows, []any{e.Path, e.Value, e.Origin.String()})
			}
			return report.Rows(a.stdout, a.format(), []string{"key", "value", "origin"}, rows)
		}
		if _, err := say(a.stdout, "%s", s.Base.YAML(true)); err != nil {
			return err
		}
		if s.Design == "" {
			_, err = say(a.stdout, "# 1 trial, identity %s\n", s.Trials[0].ID)
			return err
		}
		var table bytes.Buffer
		if err := a.printTrials(&table, s); err != nil {
			return err
		}
		title := fmt.Sprintf("%d trials (%s), compared by %s", len(s.Trials), s.Design, s.Metric)
		if s.Impossible > 0 {
			title += fmt.Sprintf("; %d combinations are left out where a factor does not apply", s.Impossible)
		}
		if s.Search != nil {
			title = searchLine(s)
			var space bytes.Buffer
			if err := printSpace(&space, s.Search); err != nil {
				return err
			}
			title += "\n" + strings.TrimRight(commentOut(space.String()), "\n") + "\n# known before it begins: the baseline, to be compared with the winner"
		}
		_, err = say(a.stdout, "# %s\n%s", title, commentOut(table.String()))
		return err
	}
	return c
}

// searchLine says in a line what a search does.
func searchLine(s *sweep.Sweep) string {
	x := s.Search
	var budget []string
	if x.Budget.Trials > 0 {
		budget = append(budget, fmt.Sprintf("%d points", x.Budget.Trials))
	}
	if x.Budget.Hours > 0 {
		budget = append(budget, fmt.Sprintf("%g hours of trials", x.Budget.Hours))
	}
	tried, fresh := x.Seeds()
	text := fmt.Sprintf("%s: a search of %s by %s", s.Base.Name, strings.Join(budget, " or "), cmp.Or(s.Choose, s.Metric))
	if len(tried) > 1 {
		text += fmt.Sprintf(", each under %d seeds", len(tried))
	}
	if len(fresh) > 0 {
		text += fmt.Sprintf("; then the winner and the baseline under %d fresh seeds", len(fresh))
	}
	return text
}

// printSpace prints a row for each factor of a search.
func printSpace(w io.Writer, s *sweep.Search) error {
	var rows [][]any
	for _, f := range s.Describe() {
		rows = append(rows, []any{f.Name, f.Keys, f.Values, f.When})
	}
	return report.Rows(w, report.Text, []string{"factor", "keys", "values", "only when"}, rows)
}

// printTrials prints a row for each trial. JSON has levels and overrides in full.
func (a *app) printTrials(w io.Writer, s *sweep.Sweep) error {
	if a.asJSON {
		return report.Value(w, s.Trials)
	}
	var rows [][]any
	for _, t := range s.Trials {
		var overrides []string
		for _, o := range t.Cells[0].Overrides {
			overrides = append(overrides, o.Path+"="+flow(o.Value))
		}
		rows = append(rows, []any{strings.Join(t.Variants(), " = "), t.Seed, t.ID, strings.Join(overrides, " ")})
	}
	return report.Rows(w, a.format(), []string{"variant", "seed", "id", "overrides"}, rows)
}

// flow returns a value on one line, as --set takes it.
func flow(value any) string {
	switch value.(type) {
	case map[string]any, []any:
		if text, err := json.Marshal(value); err == nil {
			return string(text)
		}
	}
	return fmt.Sprint(value)
}

// commentOut makes every line a comment of YAML.
func commentOut(text string) string {
	return "#   " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n#   ") + "\n"
}
