package main

import (
	"fmt"
	"image"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"tandem/core/data/describe"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/survey"
	"tandem/core/fault"
	"tandem/core/results/report"
)

func (a *app) dataDescribeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "describe [SPEC]",
		Short: "tell what the datasets of a spec are like, and what evaluations share with training",
		Long: `Tell what the training data and the evaluations of a spec are like: how many samples, what is refused, sizes, captions, their
tokens and languages, classes, brightness, pictures that are there twice, and what each evaluation shares with the training data
(leakage). With --dataset, one dataset without a spec; its tokens are CLIP's.

It looks at --samples of each set, evenly spread over it, and says how many that were. Pictures are compared as 64 × 64 pixels: the
same ones by all of these, those that look alike by a perceptual hash and a thumbnail. Languages are guesses.`,
		Example: `  runner data describe experiments/quickstart.yaml
  runner data describe --dataset csv --with file=pairs.csv --samples 0 --html pairs.html`,
		Args: args(cobra.MaximumNArgs(1)),
	}
	set := a.setFlag(c)
	a.pluginFlags(c)
	dataset := c.Flags().String("dataset", "", "describe the dataset of this `plugin` instead of a spec's")
	with := c.Flags().StringArray("with", nil, "a `key=value` of its with block, as often as wanted")
	samples := c.Flags().IntP("samples", "n", 10_000, "look at so many of each set; 0: all")
	near := c.Flags().Int("near", 4, "`bits` in which the hashes of pictures may differ that look alike, 0 … 16")
	page := c.Flags().String("html", "", "write a page with the pictures of the examples to this `file`")
	c.Flags().BoolVar(&a.asJSON, "json", false, "print JSON")
	c.RunE = func(_ *cobra.Command, given []string) error {
		switch {
		case (*dataset == "") == (len(given) == 0):
			return usage{fault.New(fault.Invalid, "a spec or --dataset, one of both").WithHint("runner data describe SPEC")}
		case *dataset == "" && len(*with) > 0:
			return usage{fault.New(fault.Invalid, "--with is of --dataset; --set changes a spec")}
		case *samples < 0 || *near < 0 || *near > 16:
			return usage{fault.New(fault.Invalid, "--samples %d --near %d: samples from 0, bits from 0 to 16", *samples, *near)}
		}
		s, err := a.described(given, *dataset, *with, *set)
		if err != nil {
			return err
		}
		ctx, end := canceled()
		defer end()
		p := newTicker(a.stderr)
		r, err := survey.Describe(ctx, a.catalog, s, survey.Options{Samples: *samples, Near: *near, Progress: p.show})
		p.clear()
		if err != nil {
			return err
		}
		if *page != "" {
			if err := writePage(*page, r, *dataset+s.Name); err != nil {
				return err
			}
		}
		if a.asJSON {
			return report.Value(a.stdout, r)
		}
		return r.Text(a.stdout)
	}
	_ = c.RegisterFlagCompletionFunc("dataset", a.completeDatasets)
	return c
}

// described returns the spec of what is to be described.
func (a *app) described(given []string, dataset string, with, set []string) (*spec.Spec, error) {
	if dataset == "" {
		return a.lab().Load(given[0], set)
	}
	return survey.Dataset(a.catalog, dataset, with)
}

func writePage(name string, r *survey.Result, title string) error {
	f, err := os.Create(name)
	if err != nil {
		return fault.New(fault.Invalid, "%w", err)
	}
	if err := r.Page(f, "What is in "+title, func(p describe.Place) image.Image { return r.Pictures[p] }); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return fault.New(fault.Exhausted, "%w", err)
	}
	return nil
}

// completeDatasets completes the names of dataset plugins.
func (a *app) completeDatasets(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var words []string
	for _, e := range a.catalog.List() {
		if e.Binary.Kind == "dataset" {
			words = append(words, e.Binary.Name+"\t"+e.Descriptor.Summary)
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// ticker shows on a terminal what is looked at and how long it will take; elsewhere it shows nothing.
type ticker struct {
	out    io.Writer
	live   bool
	what   string
	began  time.Time
	drawn  time.Time
	onLine bool
}

func newTicker(out io.Writer) *ticker {
	terminal, _ := report.Terminal(out)
	return &ticker{out: out, live: terminal}
}

func (t *ticker) show(what string, done, of int) {
	now := time.Now()
	if what != t.what {
		t.what, t.began, t.drawn = what, now, time.Time{}
	}
	if !t.live || now.Sub(t.drawn) < redrawEvery {
		return
	}
	t.clear()
	line := what
	if of > 0 {
		line += fmt.Sprintf(": %s of %s", report.Count(float64(done)), report.Count(float64(of)))
		if took := now.Sub(t.began); done > 0 && took > time.Second {
			line += ", ETA " + (took * time.Duration(of-done) / time.Duration(done)).Round(time.Second).String()
		}
	}
	say(t.out, "%s", line)
	t.drawn, t.onLine = now, true
}

// clear takes the line away.
func (t *ticker) clear() {
	if t.onLine {
		fmt.Fprint(t.out, "\r\x1b[2K")
		t.onLine = false
	}
}
