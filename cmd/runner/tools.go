package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"tandem/core/clip"
	"tandem/core/device/devices"
	"tandem/core/fault"
	"tandem/core/host"
	"tandem/core/report"
	"tandem/core/run"
)

func (a *app) zeroshotCommand() *cobra.Command {
	var labels, templates []string
	c := &cobra.Command{
		Use:     "zeroshot RUN IMAGE… --labels a,b,c",
		Short:   "classify pictures with a trained run",
		Args:    args(cobra.MinimumNArgs(2)),
		Example: `  runner zeroshot latest cat.png --labels "cat,dog,sun" --template "an emoji of {}"`,
	}
	a.dbFlag(c)
	a.runsDirFlag(c)
	a.formatFlags(c, true)
	c.Flags().StringSliceVar(&labels, "labels", nil, "the `classes` to choose from, separated by commas")
	c.Flags().StringArrayVar(&templates, "template", nil, "`prompt` with {} for the label; several are averaged (default: those of the run's first evaluation)")
	top := c.Flags().Int("top", 5, "show so many classes")
	c.RunE = func(_ *cobra.Command, given []string) error {
		if len(labels) < 2 {
			return usage{fault.New(fault.Invalid, "give at least two classes").WithHint("--labels cat,dog,sun")}
		}
		for _, t := range templates {
			if strings.Count(t, "{}") != 1 {
				return usage{fault.New(fault.Invalid, "template %q has %d places for the label, want 1", t, strings.Count(t, "{}")).
					WithHint(`--template "a photo of a {}."`)}
			}
		}
		ctx, end := canceled()
		defer end()
		found, err := a.lab().Classify(ctx, given[0], given[1:], labels, templates)
		if err != nil {
			return err
		}
		if a.asJSON {
			return report.Value(a.stdout, found)
		}
		var rows [][]any
		for _, f := range found {
			for _, g := range f.Guesses[:min(*top, len(f.Guesses))] {
				if a.asCSV {
					rows = append(rows, []any{f.Image, g.Label, g.Probability, g.Cosine})
				} else {
					rows = append(rows, []any{f.Image, g.Label, report.Percent(g.Probability), report.Number(g.Cosine)})
				}
			}
		}
		return report.Rows(a.stdout, a.format(), []string{"image", "label", "probability", "cosine"}, rows)
	}
	return c
}

func (a *app) benchCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "bench SPEC",
		Short: "say where the time of a training step goes",
		Args:  args(cobra.ExactArgs(1)),
	}
	set := a.setFlag(c)
	a.formatFlags(c, true)
	steps := c.Flags().Int("steps", 20, "steps that are measured")
	warmup := c.Flags().Int("warmup", 3, "steps before")
	c.RunE = func(_ *cobra.Command, given []string) error {
		if *steps < 1 || *warmup < 0 {
			return usage{fault.New(fault.Invalid, "--steps %d, --warmup %d: at least 1 step is measured", *steps, *warmup)}
		}
		s, err := a.lab().Load(given[0], *set)
		if err != nil {
			return err
		}
		ctx, end := canceled()
		defer end()
		w := newProgress(a.stderr, true)
		b, err := a.lab().Bench(ctx, s, *warmup, *steps, w)
		w.Close()
		if err != nil {
			return err
		}
		return a.benched(b)
	}
	return c
}

func (a *app) benched(b *run.Bench) error {
	if a.asJSON {
		return report.Value(a.stdout, b)
	}
	rows := make([][]any, 0, len(b.Breakdown)+2)
	for _, c := range b.Breakdown {
		where := "runner"
		if c.Plugin {
			where = "plugin"
		}
		if a.asCSV {
			rows = append(rows, []any{c.Part, c.MS, c.Share, where})
			continue
		}
		rows = append(rows, []any{c.Part, fmt.Sprintf("%.2f", c.MS), report.Percent(c.Share), where})
	}
	if a.asCSV {
		rows = append(rows, []any{"step", b.StepMS, 1.0, ""}, []any{"overhead", b.OverheadMS, b.OverheadShare, "runner"})
		return report.Rows(a.stdout, report.CSV, []string{"part", "ms", "share", "where"}, rows)
	}
	rows = append(rows,
		[]any{"not in a plugin", fmt.Sprintf("%.2f", b.OverheadMS), report.Percent(b.OverheadShare), "runner"},
		[]any{"whole step", fmt.Sprintf("%.2f", b.StepMS), "", ""})
	if err := report.Rows(a.stdout, report.Text, []string{"part", "ms", "of the step", "where"}, rows); err != nil {
		return err
	}
	text := fmt.Sprintf("\n%s: %s parameters, batch %d, %d threads, %s\n%s images/s, %s ms a step (median of %d)\n%s GFLOP a step, %s GFLOP/s",
		b.Experiment, report.Count(float64(b.Parameters)), b.BatchSize, b.Threads, b.Device,
		report.Number(round1(b.ImagesPerS)), report.Number(round1(b.StepMS)), b.Steps, report.Number(round1(b.StepGFLOP)), report.Number(round1(b.GFLOPS)))
	if b.PeakGFLOPS > 0 {
		text += fmt.Sprintf(", %s of the measured %s matrix product peak", report.Percent(b.PeakShare), report.Number(round1(b.PeakGFLOPS)))
	}
	_, err := fmt.Fprintln(a.stdout, text)
	return err
}

func round1(v float64) float64 { return float64(int64(v*10+0.5)) / 10 }

func (a *app) dataCommand() *cobra.Command {
	c := &cobra.Command{Use: "data", Short: "look at training data, fetch it"}
	c.AddCommand(a.dataPeekCommand(), a.dataGetCommand())
	a.group(c)
	return c
}

func (a *app) dataPeekCommand() *cobra.Command {
	c := &cobra.Command{Use: "peek SPEC", Short: "show samples of a spec's training data", Args: args(cobra.ExactArgs(1))}
	set := a.setFlag(c)
	a.formatFlags(c, true)
	n := c.Flags().IntP("samples", "n", 8, "how many")
	out := c.Flags().StringP("output", "o", "", "write the pictures to a PNG `file`, as the image encoder gets them")
	c.RunE = func(_ *cobra.Command, given []string) error {
		if *n < 1 {
			return usage{fault.New(fault.Invalid, "-n %d: at least 1 sample", *n)}
		}
		s, err := a.lab().Load(given[0], *set)
		if err != nil {
			return err
		}
		ctx, end := canceled()
		defer end()
		p, err := a.lab().Peek(ctx, s, *n)
		if err != nil {
			return err
		}
		if *out != "" {
			f, err := os.Create(*out)
			if err != nil {
				return fault.New(fault.Invalid, "%w", err)
			}
			if err := p.Sheet(f); err != nil {
				f.Close()
				return err
			}
			if err := f.Close(); err != nil {
				return fault.New(fault.Exhausted, "%w", err)
			}
		}
		if a.asJSON {
			return report.Value(a.stdout, p)
		}
		var rows [][]any
		for _, s := range p.Samples {
			var labels []string
			for _, t := range p.Targets {
				if l, ok := s.Labels[t]; ok {
					labels = append(labels, t+"="+l)
				}
			}
			rows = append(rows, []any{s.Index, s.Key, s.Caption, strings.Join(s.Captions, " | "), strings.Join(labels, ", ")})
		}
		if !a.asCSV {
			fmt.Fprintf(a.stderr, "%s: %s samples of %d × %d pixels, targets %s\n%s\n\n", p.Plugin, report.Count(float64(p.Len)),
				p.ImageSize, p.ImageSize, strings.Join(p.Targets, ", "), p.Note)
		}
		return report.Rows(a.stdout, a.format(), []string{"index", "key", "caption", "all captions", "labels"}, rows)
	}
	return c
}

func (a *app) dataGetCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "get emoji", Short: "fetch a dataset: emoji", Args: args(cobra.ExactArgs(1)), ValidArgs: []string{"emoji"},
		Long: "Fetch a dataset. emoji: the full npm packages, for `root:` of the dataset emoji, with npm.",
	}
	to := c.Flags().String("to", "", "`folder` to put it in; default: tandem/emoji in the user's data folder")
	c.RunE = func(_ *cobra.Command, given []string) error {
		if given[0] != "emoji" {
			return usage{fault.New(fault.Invalid, "unknown dataset %q", given[0]).WithHint("runner data get emoji")}
		}
		dir := *to
		if dir == "" {
			data, err := run.DataDir()
			if err != nil {
				return err
			}
			dir = filepath.Join(data, "emoji")
		}
		ctx, end := canceled()
		defer end()
		if err := run.GetEmoji(ctx, dir, func(text string) { fmt.Fprintln(a.stderr, text) }); err != nil {
			return err
		}
		_, err := fmt.Fprintf(a.stdout, "root: %s\n", dir)
		return err
	}
	return c
}

func (a *app) pluginCommand() *cobra.Command {
	c := &cobra.Command{Use: "plugin", Short: "list and describe plugins"}
	c.AddCommand(a.pluginListCommand(), a.pluginDescribeCommand())
	a.group(c)
	return c
}

func (a *app) pluginListCommand() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "list the plugins that are found", Args: args(cobra.NoArgs)}
	a.formatFlags(c, true)
	c.RunE = func(*cobra.Command, []string) error {
		var rows [][]any
		for _, e := range a.catalog.List() {
			summary := e.Descriptor.Summary
			if e.Err != nil {
				summary = e.Err.Error()
			}
			rows = append(rows, []any{e.Binary.Ref(), e.Descriptor.Version, summary, e.Binary.Path})
		}
		if len(rows) == 0 {
			fmt.Fprintf(a.stderr, "no plugins in %s\n", strings.Join(a.catalog.Roots, ", "))
		}
		return report.Rows(a.stdout, a.format(), []string{"plugin", "version", "summary", "path"}, rows)
	}
	return c
}

func (a *app) pluginDescribeCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "describe PLUGIN", Short: "describe a plugin and its settings", Args: args(cobra.ExactArgs(1)),
		Long: "Describe a plugin and the settings of its with block. PLUGIN is vit, encoders/vit or a path.",
	}
	a.formatFlags(c, true)
	c.RunE = func(_ *cobra.Command, given []string) error {
		d, b, err := a.find(given[0])
		if err != nil {
			return err
		}
		if a.asJSON {
			return report.Value(a.stdout, map[string]any{"path": b.Path, "sha256": b.SHA256, "descriptor": d})
		}
		var rows [][]any
		for _, f := range d.Schema {
			rows = append(rows, []any{f.Name, fieldType(f), fieldDefault(f), f.Help})
		}
		if !a.asCSV {
			fmt.Fprintf(a.stdout, "%s %s — %s\n%s\nsha256 %s\n\n", b.Ref(), d.Version, d.Summary, b.Path, b.SHA256)
		}
		if len(rows) == 0 {
			_, err := fmt.Fprintln(a.stdout, "It has no settings.")
			return err
		}
		return report.Rows(a.stdout, a.format(), []string{"setting", "type", "default", "meaning"}, rows)
	}
	return c
}

// find looks a plugin up among all kinds.
func (a *app) find(ref string) (d clip.Descriptor, b host.Binary, err error) {
	var first error
	for _, kind := range host.Kinds {
		if d, b, err = a.catalog.Describe(kind, ref); err == nil {
			return d, b, nil
		}
		if first == nil || fault.KindOf(err) != fault.NotFound && fault.KindOf(err) != fault.Invalid {
			first = err
		}
	}
	var all []string
	for _, kind := range host.Kinds {
		for _, name := range a.catalog.Names(kind) {
			all = append(all, kind.Dir()+"/"+name)
		}
	}
	if fault.KindOf(first) == fault.NotFound || fault.KindOf(first) == fault.Invalid {
		return d, b, fault.New(fault.NotFound, "no plugin %q", ref).WithHint("there are %s", strings.Join(all, ", "))
	}
	return d, b, first
}

func fieldType(f clip.Field) string {
	text := string(f.Type)
	if f.Elem != "" {
		text += " of " + string(f.Elem)
	}
	if f.Len > 0 {
		text += fmt.Sprintf(" (%d)", f.Len)
	}
	if len(f.Enum) > 0 {
		text = strings.Join(f.Enum, " | ")
	}
	if f.Min != nil {
		text += fmt.Sprintf(" ≥ %v", *f.Min)
	}
	if f.Max != nil {
		text += fmt.Sprintf(" ≤ %v", *f.Max)
	}
	return text
}

func fieldDefault(f clip.Field) string {
	switch {
	case f.Required:
		return "required"
	case f.Default == nil:
		return ""
	}
	return fmt.Sprint(f.Default)
}

func (a *app) devicesCommand() *cobra.Command {
	c := &cobra.Command{Use: "devices", Short: "list the devices of this machine", Args: args(cobra.NoArgs)}
	a.formatFlags(c, true)
	c.RunE = func(*cobra.Command, []string) error {
		var rows [][]any
		for _, d := range devices.List() {
			rows = append(rows, []any{d.Name, d.Available, d.Detail})
		}
		return report.Rows(a.stdout, a.format(), []string{"device", "available", "detail"}, rows)
	}
	return c
}

func (a *app) versionCommand() *cobra.Command {
	c := &cobra.Command{Use: "version", Short: "print the version", Args: args(cobra.NoArgs)}
	a.formatFlags(c, false)
	c.RunE = func(*cobra.Command, []string) error {
		commit, dirty := run.Revision(".")
		v := map[string]any{"version": version, "commit": commit, "modified": dirty, "go": runtime.Version(),
			"protocol": clip.ProtocolVersion, "platform": runtime.GOOS + "/" + runtime.GOARCH}
		if a.asJSON {
			return report.Value(a.stdout, v)
		}
		_, err := fmt.Fprintf(a.stdout, "runner %s (commit %.12s, %s, %s, plugin protocol %d)\n", version, commit, runtime.Version(), v["platform"], clip.ProtocolVersion)
		return err
	}
	return c
}
