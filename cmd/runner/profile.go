package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"tandem/core/experiment/measure"
	"tandem/core/fault"
	"tandem/core/results/report"
)

func (a *app) profileCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "profile SPEC",
		Short: "say what each tower and the loss compute, by operation and layer",
		Args:  args(cobra.ExactArgs(1)),
		Example: `  runner profile experiments/quickstart.yaml -o trace.json   # open it in ui.perfetto.dev
  runner profile experiments/vit-b32.yaml --steps 3 --set train.parallel_towers=false`,
	}
	set := a.setFlag(c)
	a.pluginFlags(c)
	a.formatFlags(c, true)
	steps := c.Flags().Int("steps", 5, "steps that are profiled")
	warmup := c.Flags().Int("warmup", 3, "steps before")
	top := c.Flags().Int("top", 12, "show so many operations and layers of each part; 0: all")
	trace := c.Flags().StringP("output", "o", "", "write a Chrome trace of all processes to `FILE`")
	c.RunE = func(_ *cobra.Command, given []string) error {
		if *steps < 1 || *warmup < 0 || *top < 0 {
			return usage{fault.New(fault.Invalid, "--steps %d, --warmup %d, --top %d: at least 1 step is profiled", *steps, *warmup, *top)}
		}
		s, err := a.lab().Load(given[0], *set)
		if err != nil {
			return err
		}
		ctx, end := canceled()
		defer end()
		w := newProgress(a.stderr, true)
		p, err := measure.Profile(ctx, a.catalog, s, *warmup, *steps, w)
		w.Close()
		if err != nil {
			return err
		}
		if *trace != "" {
			if err := writeTrace(*trace, p); err != nil {
				return err
			}
		}
		return a.printProfile(p, *top, *trace)
	}
	return c
}

func writeTrace(path string, p *measure.StepProfile) error {
	f, err := os.Create(path)
	if err != nil {
		return fault.New(fault.Unavailable, "trace: %w", err)
	}
	err = p.WriteTrace(f)
	if e := f.Close(); err == nil && e != nil {
		err = fault.New(fault.Unavailable, "trace: %w", e)
	}
	return err
}

func (a *app) printProfile(p *measure.StepProfile, top int, trace string) error {
	if a.asJSON {
		return report.Value(a.stdout, p)
	}
	columns := []string{"part", "by", "name", "pass", "calls", "ms", "share", "gflop", "mb", "of the floor"}
	if a.asCSV {
		var rows [][]any
		for _, part := range p.Parts {
			for _, list := range []struct {
				by string
				of []measure.Kernel
			}{{"operation", part.Ops}, {"layer", part.Layers}} {
				for _, k := range list.of {
					rows = append(rows, []any{part.Part, list.by, k.Name, k.Pass, k.Calls, k.MS, k.Share, k.GFLOP, k.MB, k.FloorShare})
				}
			}
		}
		return report.Rows(a.stdout, report.CSV, columns, rows)
	}
	for _, part := range p.Parts {
		if _, err := say(a.stdout, "%s (%s): %.2f ms a step, %.2f ms in kernels\n", part.Part, part.Plugin, part.MS, part.KernelMS); err != nil {
			return err
		}
		if len(part.Ops) == 0 {
			say(a.stdout, "  the plugin does not tell its kernels\n\n")
			continue
		}
		for _, list := range []struct {
			by string
			of []measure.Kernel
		}{{"operation", part.Ops}, {"layer", part.Layers}} {
			if err := report.Rows(a.stdout, report.Text, []string{list.by, "pass", "calls", "ms", "share", "GFLOP", "MB", "of the floor"},
				kernelRows(list.of, top)); err != nil {
				return err
			}
			fmt.Fprintln(a.stdout)
		}
	}
	text := fmt.Sprintf("%s: batch %d, %d threads, %s, %.2f ms a step (mean of %d)\nthe floor: %s GFLOP/s of matrix products, %s GB/s of memory, as measured",
		p.Experiment, p.BatchSize, p.Threads, p.Device, p.StepMS, p.Steps, report.Number(roundTenth(p.PeakGFLOPS)), report.Number(roundTenth(p.PeakGBs)))
	if p.Parallel {
		text += "\nthe towers computed at once and took time from each other; --set train.parallel_towers=false shows each alone"
	}
	if trace != "" {
		text += "\ntrace: " + trace + " (open it in ui.perfetto.dev or chrome://tracing)"
	}
	_, err := say(a.stdout, "%s\n", text)
	return err
}

// kernelRows returns the first top rows and one for the rest.
func kernelRows(list []measure.Kernel, top int) [][]any {
	var rows [][]any
	add := func(k measure.Kernel) {
		rows = append(rows, []any{k.Name, k.Pass, report.Number(roundTenth(k.Calls)), fmt.Sprintf("%.3f", k.MS), report.Percent(k.Share),
			fmt.Sprintf("%.2f", k.GFLOP), fmt.Sprintf("%.1f", k.MB), report.Percent(k.FloorShare)})
	}
	if top == 0 || len(list) <= top+1 {
		top = len(list)
	}
	for _, k := range list[:top] {
		add(k)
	}
	if rest := list[top:]; len(rest) > 0 {
		sum := measure.Kernel{Name: fmt.Sprintf("%d others", len(rest))}
		for _, k := range rest {
			sum.Calls, sum.MS, sum.Share = sum.Calls+k.Calls, sum.MS+k.MS, sum.Share+k.Share
			sum.GFLOP, sum.MB, sum.FloorMS = sum.GFLOP+k.GFLOP, sum.MB+k.MB, sum.FloorMS+k.FloorMS
		}
		if sum.MS > 0 {
			sum.FloorShare = sum.FloorMS / sum.MS
		}
		add(sum)
	}
	return rows
}

// printMemory prints what every process planned and took.
func (a *app) printMemory(list []measure.ProcessMemory) error {
	mb := func(n int64) string { return fmt.Sprintf("%.1f", float64(n)/(1<<20)) }
	var rows [][]any
	for _, p := range list {
		for _, m := range p.Plan {
			if m.Bytes > 0 {
				name := m.Name
				if p.Device != "" && name != "program" && name != "shared" {
					name = p.Device + " " + name
				}
				rows = append(rows, []any{p.Part, name, mb(m.Bytes), ""})
			}
		}
		share := ""
		if p.Planned > 0 && p.Peak > 0 {
			share = report.Percent(float64(p.Planned) / float64(p.Peak))
			rows = append(rows, []any{p.Part, "planned in all", mb(p.Planned), share})
		}
		if p.Peak > 0 {
			rows = append(rows, []any{p.Part, "measured peak", mb(p.Peak), ""})
		}
	}
	return report.Rows(a.stdout, report.Text, []string{"process", "memory", "MiB", "of the peak"}, rows)
}
