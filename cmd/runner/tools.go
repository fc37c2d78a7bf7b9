package main

import (
	"cmp"
	"fmt"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"tandem/core/clip"
	"tandem/core/engine/device/devices"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/infer"
	"tandem/core/experiment/measure"
	"tandem/core/fault"
	"tandem/core/media/vision"
	"tandem/core/results/report"
)

func (a *app) zeroshotCommand() *cobra.Command {
	var labels, templates []string
	c := &cobra.Command{
		Use:     "zeroshot RUN IMAGE… --labels a,b,c|@FILE",
		Short:   "classify pictures with a trained run",
		Args:    args(cobra.MinimumNArgs(2)),
		Example: `  runner zeroshot latest cat.png --labels "cat,dog,sun" --template "an emoji of {}"`,
	}
	a.pluginFlags(c)
	a.dbFlag(c)
	a.runsDirFlag(c)
	a.formatFlags(c, true)
	c.Flags().StringArrayVar(&labels, "labels", nil, "the `classes` to choose from, separated by commas, or @FILE with one a line")
	file := c.Flags().String("labels-file", "", "a text `file` with a class a line: as --labels @FILE")
	c.Flags().StringArrayVar(&templates, "template", nil, "`prompt` with {} for the label, or @FILE with one a line; several are averaged (default: those of the run's first evaluation)")
	ema := c.Flags().Bool("ema", false, "classify with the averaged weights (train.ema)")
	top := c.Flags().Int("top", 5, "show so many classes")
	c.RunE = func(_ *cobra.Command, given []string) error {
		if *file != "" {
			labels = append(labels, "@"+*file)
		}
		labels, err := textsOf("--labels", labels, true)
		if err != nil {
			return err
		}
		templates, err := textsOf("--template", templates, false)
		if err != nil {
			return err
		}
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
		w := newProgress(a.stderr, false)
		found, err := infer.Classify(ctx, a.lab(), given[0], given[1:], labels, templates, *ema, w)
		w.Close()
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
	a.pluginFlags(c)
	a.formatFlags(c, true)
	steps := c.Flags().Int("steps", 20, "steps that are measured")
	warmup := c.Flags().Int("warmup", 3, "steps before")
	noPeak := c.Flags().Bool("no-peak", false, "do not measure the device's peak between steps, and time all steps as one: on a GPU nothing then waits for a step's optimiser")
	memory := c.Flags().Bool("memory", false, "show what the memory of each process is for, beside its measured peak")
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
		b, err := measure.Bench(ctx, a.catalog, s, measure.Benching{Warmup: *warmup, Steps: *steps, NoPeak: *noPeak}, w)
		w.Close()
		if err != nil {
			return err
		}
		if *memory && !a.asJSON {
			return a.printMemory(b.Memory)
		}
		return a.printBench(b)
	}
	return c
}

func (a *app) printBench(b *measure.StepCosts) error {
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
	took := fmt.Sprintf("%s ms a step (median of %d%s)", report.Number(roundTenth(b.StepMS)), b.Steps, noteSpread(b.Machine))
	if b.TogetherMS > 0 {
		took = fmt.Sprintf("%s ms a step (%d timed as one; single ones %s%s)", report.Number(roundTenth(b.TogetherMS)), b.Steps, report.Number(roundTenth(b.StepMS)), noteSpread(b.Machine))
	}
	text := fmt.Sprintf("\n%s: %s parameters, batch %d, %d threads, %s\n%s images/s, %s\n%s GFLOP computed a step%s, %s GFLOP/s",
		b.Experiment, report.Count(float64(b.Parameters)), b.BatchSize, b.Threads, b.Device,
		report.Number(roundTenth(b.ImagesPerS)), took, report.Number(roundTenth(b.StepGFLOP)), noteUncounted(b.Uncounted), report.Number(roundTenth(b.GFLOPS)))
	if b.PeakGFLOPS > 0 {
		text += fmt.Sprintf(", %s of the measured %s matrix product peak", report.Percent(b.PeakShare), report.Number(roundTenth(b.PeakGFLOPS)))
	}
	if warning := b.Machine.Warning(); warning != "" {
		text += "\n" + warning
	}
	_, err := say(a.stdout, "%s\n", text)
	return err
}

// noteSpread says how far the steps' times are apart.
func noteSpread(m measure.MachineState) string {
	if m.StepSpread == 0 {
		return ""
	}
	return ", half of them within " + report.Percent(m.StepSpread)
}

// noteUncounted says what a sum of operations lacks.
func noteUncounted(parts []string) string {
	if len(parts) == 0 {
		return ""
	}
	return fmt.Sprintf(" (without that of %s: the plugin does not count it)", strings.Join(parts, ", "))
}

func roundTenth(v float64) float64 { return float64(int64(v*10+0.5)) / 10 }

func (a *app) devicesCommand() *cobra.Command {
	c := &cobra.Command{Use: "devices", Short: "list the devices of this machine", Args: args(cobra.NoArgs)}
	a.formatFlags(c, true)
	c.RunE = func(*cobra.Command, []string) error {
		found := devices.Inspect()
		if a.format() == report.Text {
			return a.printDevices(found)
		}
		var rows [][]any
		for _, d := range found {
			row := append([]any{d.Name, d.Available, d.Detail, d.Hint}, make([]any, 7)...)
			if g := d.GPU; g != nil {
				row = append(row[:4], g.Name, g.Capability, g.TotalMemory, g.FreeMemory, g.Driver, g.BLAS, g.DNN)
			}
			rows = append(rows, row)
		}
		return report.Rows(a.stdout, a.format(), []string{"device", "available", "detail", "hint",
			"gpu", "capability", "memory_bytes", "free_bytes", "driver", "cublas", "cudnn"}, rows)
	}
	return c
}

// printDevices writes devices for people, with the remedies below, which are too long for a column.
func (a *app) printDevices(found []devices.Info) error {
	var rows [][]any
	for _, d := range found {
		rows = append(rows, []any{d.Name, d.Available, d.Detail})
	}
	if err := report.Rows(a.stdout, report.Text, []string{"device", "available", "detail"}, rows); err != nil {
		return err
	}
	for _, d := range found {
		if d.Hint != "" {
			if _, err := say(a.stdout, "%s: hint: %s\n", d.Name, d.Hint); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *app) versionCommand() *cobra.Command {
	c := &cobra.Command{Use: "version", Short: "print the version", Args: args(cobra.NoArgs)}
	a.formatFlags(c, false)
	c.RunE = func(*cobra.Command, []string) error {
		commit, dirty := assemble.Revision(".")
		v := map[string]any{"version": version, "commit": commit, "modified": dirty, "go": runtime.Version(),
			"protocol": clip.ProtocolVersion, "platform": runtime.GOOS + "/" + runtime.GOARCH,
			"jpeg": vision.JPEGDecoder(), "avif": cmp.Or(vision.AVIFVersion(), "not read")}
		if a.asJSON {
			return report.Value(a.stdout, v)
		}
		if commit == "" {
			commit = "unknown"
		}
		_, err := say(a.stdout, "runner %s (commit %.12s, %s, %s, plugin protocol %d)\nJPEG: %s\nAVIF: %s\n",
			version, commit, runtime.Version(), v["platform"], clip.ProtocolVersion, v["jpeg"], v["avif"])
		return err
	}
	return c
}
