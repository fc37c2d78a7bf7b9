package main

import (
	"github.com/spf13/cobra"

	"tandem/core/experiment/infer"
	"tandem/core/experiment/publish"
	"tandem/core/fault"
	"tandem/core/results/report"
)

func (a *app) importCommand() *cobra.Command {
	var as, name string
	c := &cobra.Command{
		Use:   "import WEIGHTS --as SPEC",
		Short: "record published weights as a run",
		Long: `Record published weights as a run that is done at step 0, so that zeroshot, embed, export and show
work on it. WEIGHTS is a .safetensors file or one of PyTorch (.pt, .bin) with OpenCLIP's, OpenAI's or
transformers' names, the folder of a downloaded model, or a checkpoint folder. The towers' settings in SPEC have to be those of the weights, act (gelu or
quick_gelu) included: names and shapes do not tell it. To train from weights, set init.weights instead.`,
		Example: "  runner import open_clip_model.safetensors --as experiments/vit-b32.yaml -o laion2b",
		Args:    args(cobra.ExactArgs(1)),
	}
	set := a.setFlag(c)
	a.pluginFlags(c)
	a.dbFlag(c)
	a.runsDirFlag(c)
	a.formatFlags(c, false)
	c.Flags().StringVar(&as, "as", "", "the `spec` of the model")
	c.Flags().StringVarP(&name, "name", "o", "", "the run's `experiment` (default: the spec's)")
	c.RunE = func(_ *cobra.Command, given []string) error {
		if as == "" {
			return usage{fault.New(fault.Invalid, "which model are the weights of?").WithHint("--as SPEC")}
		}
		overrides := *set
		if name != "" {
			overrides = append(overrides, "name="+name)
		}
		s, err := a.lab().Load(as, overrides)
		if err != nil {
			return err
		}
		ctx, end := canceled()
		defer end()
		w := newProgress(a.stderr, true)
		id, err := publish.Import(ctx, a.lab(), s, given[0], w)
		w.Close()
		if err != nil {
			return err
		}
		if a.asJSON {
			return report.Value(a.stdout, map[string]string{"run": id, "experiment": s.Name})
		}
		_, err = say(a.stdout, "%s\n", id)
		return err
	}
	return c
}

func (a *app) embedCommand() *cobra.Command {
	var e infer.Embedding
	var specFile, images, texts, out string
	c := &cobra.Command{
		Use:   "embed --run RUN | --weights WEIGHTS --spec SPEC",
		Short: "embed pictures and texts",
		Long: `Embed pictures and texts with the newest checkpoint of a run, or with published weights in the towers of
a spec. The output is a .safetensors file with image_features [N, D], text_features [M, D] and
logit_scale, what cosines are multiplied by; its metadata lists the pictures and the texts.`,
		Example: "  runner embed --run latest --images pictures/ --texts captions.txt --out features.safetensors",
		Args:    args(cobra.NoArgs),
	}
	set := a.setFlag(c)
	a.pluginFlags(c)
	a.dbFlag(c)
	a.runsDirFlag(c)
	a.formatFlags(c, false)
	c.Flags().StringVar(&e.Run, "run", "", "a `run`: an id, a unique prefix or latest")
	c.Flags().StringVar(&e.Weights, "weights", "", "published `weights` (.safetensors) or a checkpoint folder")
	c.Flags().StringVar(&specFile, "spec", "", "the `spec` of the model that --weights are of")
	c.Flags().StringVar(&images, "images", "", "a `folder` of pictures, or a text file with the path of one per line")
	c.Flags().StringVar(&texts, "texts", "", "a text `file` with a caption per line")
	c.Flags().StringVar(&out, "out", "", "the .safetensors `file` to write")
	c.Flags().BoolVar(&e.Raw, "raw", false, "features as they leave the projection, not normalised to unit length")
	c.Flags().BoolVar(&e.Averaged, "ema", false, "with --run: compute with the averaged weights (train.ema)")
	c.Flags().BoolVar(&e.SkipUnreadable, "skip-unreadable", false, "leave out pictures that cannot be read, instead of failing; the file lists those that are in it")
	c.MarkFlagsMutuallyExclusive("run", "weights")
	c.MarkFlagsMutuallyExclusive("run", "spec")
	c.MarkFlagsMutuallyExclusive("weights", "ema")
	c.RunE = func(*cobra.Command, []string) (err error) {
		switch {
		case e.Run == "" && (e.Weights == "" || specFile == ""):
			return usage{fault.New(fault.Invalid, "which model?").WithHint("--run RUN, or --weights WEIGHTS --spec SPEC")}
		case out == "":
			return usage{fault.New(fault.Invalid, "where to?").WithHint("--out features.safetensors")}
		}
		if e.Run == "" {
			if e.Spec, err = a.lab().Load(specFile, *set); err != nil {
				return err
			}
		}
		ctx, end := canceled()
		defer end()
		if images != "" {
			if e.Images, e.Remarks, err = infer.Pictures(ctx, images); err != nil {
				return err
			}
		}
		if texts != "" {
			if e.Texts, err = infer.Lines(texts); err != nil {
				return err
			}
		}
		w := newProgress(a.stderr, true)
		done, err := infer.Embed(ctx, a.lab(), e, out, w)
		w.Close()
		if err != nil {
			return err
		}
		if a.asJSON {
			return report.Value(a.stdout, done)
		}
		_, err = say(a.stdout, "%d pictures and %d texts in %d dimensions, logit scale %s: %s\n",
			done.Images, done.Texts, done.EmbedDim, report.Number(done.LogitScale), done.File)
		return err
	}
	return c
}
