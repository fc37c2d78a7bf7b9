package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tandem/core/clip"
	"tandem/core/plugin/trial"
	"tandem/core/results/report"
)

func (a *app) pluginBenchCommand() *cobra.Command {
	var o trial.Options
	var with string
	var spell time.Duration
	c := &cobra.Command{
		Use: "bench PLUGIN", Short: "measure what calls of a plugin cost", Args: args(cobra.ExactArgs(1)),
		Long: "Call a plugin as training does and print what a call of each method costs: as the caller waits, inside the\n" +
			"plugin, and the difference, with tensors in shared memory and in messages. Times are medians. Options that are\n" +
			"not given are the plugin's defaults.",
		Example: "  runner plugin bench ./mine --batch 256\n  runner plugin bench vit --with '{\"image_size\": 32, \"patch_size\": 8}' --json",
	}
	a.formatFlags(c, true)
	a.trialFlags(c, &o, &with)
	c.Flags().Lookup("embed-dim").Usage = "width of the embeddings (512)"
	c.Flags().Lookup("batch").Usage = "samples of a batch (64)"
	c.Flags().Lookup("image-size").Usage = "side of a dataset's pictures (64)"
	c.Flags().DurationVar(&spell, "time", 4*time.Second, "about how long to measure")
	c.RunE = func(c *cobra.Command, given []string) error {
		if err := a.completeTrial(&o, given[0], with); err != nil {
			return err
		}
		costs, err := trial.Bench(c.Context(), o, spell)
		if err != nil {
			return err
		}
		if a.asJSON {
			return report.Value(a.stdout, costs)
		}
		if !a.asCSV {
			say(a.stdout, "%s, batches of %d, on %s with %d threads, with %s\n%s\n\n", costs.Plugin, costs.Batch, o.Device, o.Threads, costs.With, costs.Path)
		}
		var rows [][]any
		for _, m := range costs.Methods {
			way := "messages"
			if m.SharedMemory {
				way = "shared memory"
			}
			rows = append(rows, []any{m.Method, way, m.Calls, milliseconds(m.Seconds), milliseconds(m.Inside), milliseconds(m.Overhead),
				fmt.Sprintf("%.0f", m.PerSecond), clip.FormatBytes(int64(m.BytesPerSec)) + "/s"})
		}
		return report.Rows(a.stdout, a.format(), []string{"method", "tensors in", "calls", "ms", "inside ms", "overhead ms", "calls/s", "data"}, rows)
	}
	return c
}

func milliseconds(seconds float64) string { return fmt.Sprintf("%.3f", 1000*seconds) }
