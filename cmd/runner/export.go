package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"tandem/core/clip"
	"tandem/core/experiment/infer"
	"tandem/core/experiment/publish"
	"tandem/core/fault"
	"tandem/core/results/export"
	"tandem/core/results/report"
	"tandem/core/results/store"
)

func (a *app) exportCommand() *cobra.Command {
	var format, out, parquet, experiment string
	var ema bool
	c := &cobra.Command{
		Use:   "export RUN --format open_clip|hf|onnx -o FILE | --parquet DIR",
		Short: "write a run's weights for OpenCLIP, transformers or ONNX, or results as Parquet",
		Long: `With RUN, write its newest checkpoint as one .safetensors file with the model's config beside it:
FILE's name with .json for OpenCLIP (a model config), config.json for transformers (CLIPModel). --ema writes the averaged
weights of a run with train.ema.

--format onnx writes the towers into a folder, image.onnx (pixel_values → image_embeds) and text.onnx (input_ids →
text_embeds), whose metadata say what pictures are normalised by, the tokenizer and the logit scale.

With --parquet, write the views of the results database (docs/results.md) into a folder, a .parquet file each, for
pandas, polars, DuckDB and the like.`,
		Example: "  runner export latest --format open_clip -o emoji.safetensors\n  runner export latest --format hf -o emoji-hf/model.safetensors\n" +
			"  runner export latest --format onnx -o emoji-onnx\n  runner export --parquet results/parquet --experiment pooling",
		Args: args(cobra.MaximumNArgs(1)),
	}
	a.pluginFlags(c)
	a.dbFlag(c)
	a.runsDirFlag(c)
	a.formatFlags(c, false)
	c.Flags().StringVar(&format, "format", "open_clip", "whose `names`: open_clip, hf or onnx")
	c.Flags().StringVarP(&out, "output", "o", "", "the .safetensors `file` to write; the folder of ONNX")
	c.Flags().BoolVar(&ema, "ema", false, "the averaged weights (train.ema) instead of the last ones")
	c.Flags().StringVar(&parquet, "parquet", "", "the `folder` to write results into")
	c.Flags().StringVar(&experiment, "experiment", "", "with --parquet: only this experiment")
	c.MarkFlagsMutuallyExclusive("parquet", "output")
	c.MarkFlagsMutuallyExclusive("parquet", "format")
	c.MarkFlagsMutuallyExclusive("parquet", "ema")
	c.RunE = func(c *cobra.Command, given []string) error {
		switch {
		case parquet != "" && len(given) > 0:
			return usage{fault.New(fault.Invalid, "--parquet writes the results of all runs, but run %s is named", given[0]).
				WithHint("--experiment NAME limits it to one experiment; a run's weights go to -o FILE")}
		case parquet != "":
			return a.exportParquet(c, parquet, experiment)
		case len(given) == 0:
			return usage{fault.New(fault.Invalid, "export what?").
				WithHint("RUN -o model.safetensors for weights, --parquet DIR for results")}
		case experiment != "":
			return usage{fault.New(fault.Invalid, "--experiment goes with --parquet").WithHint("a run is named by its id alone")}
		case out == "":
			return usage{fault.New(fault.Invalid, "where to?").WithHint("-o model.safetensors")}
		}
		ctx, end := canceled()
		defer end()
		if format == clip.FormatONNX {
			return a.exportONNX(ctx, given[0], out, ema)
		}
		e, err := publish.Export(ctx, a.lab(), given[0], format, out, ema)
		if err != nil {
			return err
		}
		if a.asJSON {
			return report.Value(a.stdout, e)
		}
		of := ""
		if e.Tower != "" {
			of = ", of the " + e.Tower + " tower alone"
		}
		_, err = say(a.stdout, "run %s, step %d: %d tensors in %s, config in %s%s\n", e.Run, e.Step, e.Tensors, e.Weights, e.Config, of)
		return err
	}
	return c
}

// exportONNX writes the towers of a run into a folder.
func (a *app) exportONNX(ctx context.Context, run, dir string, ema bool) error {
	if ext := filepath.Ext(dir); ext == ".onnx" || ext == ".safetensors" {
		return usage{fault.New(fault.Invalid, "ONNX is two files, which go into a folder, not %s", dir).WithHint("-o %s", strings.TrimSuffix(dir, ext))}
	}
	e, err := infer.ExportONNX(ctx, a.lab(), run, dir, ema)
	if err != nil {
		return err
	}
	if a.asJSON {
		return report.Value(a.stdout, e)
	}
	_, err = say(a.stdout, "run %s, step %d: %s; cosines count %.4g times\n", e.Run, e.Step, strings.Join(e.Files, ", "), e.LogitScale)
	return err
}

func (a *app) exportParquet(c *cobra.Command, dir, experiment string) error {
	ctx, end := canceled()
	defer end()
	return a.reading(c.Context(), func(r *store.Reader) error {
		o := export.Options{Experiment: experiment}
		if terminal, _ := report.Terminal(a.stderr); terminal && !a.asJSON {
			o.Progress = func(file string, rows int64) {
				fmt.Fprintf(a.stderr, "\r%s: %s rows\x1b[K", file, report.Count(float64(rows)))
			}
			defer fmt.Fprint(a.stderr, "\r\x1b[K")
		}
		files, err := export.Parquet(ctx, r, dir, o)
		if err != nil {
			return err
		}
		if a.asJSON {
			return report.Value(a.stdout, files)
		}
		rows := make([][]any, len(files))
		for i, f := range files {
			rows[i] = []any{f.Path, f.Rows, report.Bytes(f.Bytes)}
		}
		return report.Rows(a.stdout, report.Text, []string{"file", "rows", "size"}, rows)
	})
}
