package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tandem/core/experiment/taping"
	"tandem/core/fault"
	"tandem/core/plugin/tape"
	"tandem/core/results/report"
)

func (a *app) pluginRecordCommand() *cobra.Command {
	var o taping.Options
	var noProgress bool
	c := &cobra.Command{
		Use: "record SPEC", Short: "record what a run says to one plugin, and what it answers", Args: args(cobra.ExactArgs(1)),
		Long: `Train a spec and record all calls of one plugin, requests and answers, tensors included, to a file that runner plugin replay
plays to the same or to another version of it. The run is a real one, but its numbers go to no database. It ends after
--steps with a checkpoint; --steps 0 records the whole run with its evaluations. What was recorded until an error or Ctrl-C
is in the file.`,
		Example: "  runner plugin record experiments/mine.yaml --plugin loss -o vse.tape\n  runner plugin replay vse.tape --plugin ./build/vse",
	}
	set := a.setFlag(c)
	a.pluginFlags(c)
	a.formatFlags(c, false)
	c.Flags().StringVar(&o.Plugin, "plugin", "", "the `plugin`, by its name or by what it is in the run: image, text, loss, data.train, eval.NAME")
	c.Flags().StringVarP(&o.File, "output", "o", "", "the `file` to write")
	c.Flags().IntVar(&o.Steps, "steps", 20, "end the run after so many; 0: where the spec ends it")
	c.Flags().BoolVar(&noProgress, "no-progress", false, "no progress, only what is lasting")
	c.RunE = func(c *cobra.Command, given []string) error {
		switch {
		case o.Plugin == "":
			return usage{fault.New(fault.Invalid, "whose calls?").WithHint("--plugin loss, or image, text, data.train, eval.NAME, or a name")}
		case o.File == "":
			return usage{fault.New(fault.Invalid, "where to?").WithHint("-o FILE")}
		case o.Steps < 0:
			return usage{fault.New(fault.Invalid, "--steps %d: want 0 or more", o.Steps)}
		}
		w := newProgress(a.stderr, !noProgress)
		a.note = func(message string) { w.Say("%s", message) }
		s, err := a.lab().Load(given[0], *set)
		if err != nil {
			return err
		}
		ctx, stop, end := interruptible(c.Context(), func() {
			w.Say("stopping after this step; Ctrl-C again stops at once")
		})
		defer end()
		r, err := taping.Record(ctx, a.lab(), s, o, stop, w)
		w.Close()
		if r != nil {
			say(a.stderr, "%s: %d calls of %s (%s) in %d steps, %s\n", r.File, r.Calls, r.Plugin, r.Role, r.Steps, report.Bytes(r.Bytes))
		}
		if err != nil {
			return err
		}
		if a.asJSON {
			return report.Value(a.stdout, r)
		}
		say(a.stderr, "\nnext\n  %s plugin replay %s\n", program(), shellWord(r.File))
		return nil
	}
	return c
}

func (a *app) pluginReplayCommand() *cobra.Command {
	var o tape.Options
	c := &cobra.Command{
		Use: "replay FILE", Short: "play recorded calls to a plugin and compare its answers", Args: args(cobra.ExactArgs(1)),
		Long: `Play the calls of a file that runner plugin record wrote to a plugin, in their order, and compare the answers with those on
the file, bit by bit or within --tolerance: embeddings, losses, gradients, samples, the files of checkpoints, and errors. The
plugin is the one of the same name, or --plugin: another version of it.

The first answer that differs is shown with its place and both values. Times are the plugin's own.

Exit codes: 0 every answer is the same, 1 one differs or a call fails, 2 bad input, 130 interrupted.`,
		Example: "  runner plugin replay vse.tape\n  runner plugin replay vse.tape --plugin ./build/vse --tolerance 1e-6",
		ValidArgsFunction: func(_ *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(given) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveDefault
		},
	}
	a.devFlag(c)
	a.formatFlags(c, false)
	c.Flags().StringVar(&o.Plugin, "plugin", "", "the `plugin` to play to: a path or a name (default: the file that was recorded or, where it is gone, the plugin of its name)")
	c.Flags().Float64Var(&o.Tolerance, "tolerance", 0, "how far numbers may be `apart`, times the larger of 1 and the recorded one; 0: equal bits")
	c.RunE = func(c *cobra.Command, given []string) error {
		if !(o.Tolerance >= 0) {
			return usage{fault.New(fault.Invalid, "--tolerance %g: want 0 or more", o.Tolerance)}
		}
		t, err := tape.Open(given[0])
		if err != nil {
			return err
		}
		defer t.Close()
		ctx, end := canceled()
		defer end()
		o.Catalog = a.catalog
		r, err := tape.Play(ctx, t, o)
		if err != nil {
			return err
		}
		if a.asJSON {
			if err := report.Value(a.stdout, r); err != nil {
				return err
			}
		} else if err := a.printReplay(r); err != nil {
			return err
		}
		if !r.Same() {
			return alreadySaid{exitFailed}
		}
		return nil
	}
	return c
}

func (a *app) printReplay(r *tape.Result) error {
	say(a.stdout, "tape    %s %s  %.12s  %s, %s\nplugin  %s %s  %.12s  %s\n\n", r.Tape.Plugin, r.Tape.Version, r.Tape.SHA256, r.Tape.Role,
		r.Tape.Began.Format(time.DateTime), r.Plugin, r.Version, r.SHA256, r.Path)
	rows := make([][]any, len(r.Methods))
	mean := func(all time.Duration, n int) string { return report.Duration(all.Seconds() / float64(max(1, n))) }
	for i, m := range r.Methods {
		most := "–"
		if m.Elements > 0 {
			most = fmt.Sprintf("%.3g", m.Most)
		}
		rows[i] = []any{m.Method, m.Calls, m.Differ, m.Elements, most, mean(m.Tape, m.Calls), mean(m.Now, m.Calls)}
	}
	if err := report.Rows(a.stdout, report.Text, []string{"method", "calls", "differ", "numbers", "furthest", "tape, each", "now, each"}, rows); err != nil {
		return err
	}
	say(a.stdout, "\n")
	if r.Cut {
		say(a.stdout, "The tape was cut off; what is on it was played.\n")
	}
	switch f := r.First; {
	case r.Calls == 0:
		say(a.stdout, "There is no call on the tape.\n")
	case f == nil:
		say(a.stdout, "All %d calls are answered as on the tape.\n", r.Calls)
	default:
		say(a.stdout, "first difference: call %d, %s %d: %s\n  tape  %s\n  now   %s\n", f.Call, f.Method, f.Nth, f.Field, f.Tape, f.Now)
		if f.Elements > 0 {
			say(a.stdout, "  %d numbers of this answer differ, by at most %.3g\n", f.Elements, f.Most)
		}
	}
	if r.Ended != "" {
		say(a.stdout, "The rest was not played: %s\n", r.Ended)
	}
	return nil
}
