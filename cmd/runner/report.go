package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"tandem/core/experiment/gallery"
	"tandem/core/fault"
	"tandem/core/files/leftover"
	"tandem/core/results/page"
	"tandem/core/results/report"
	"tandem/core/results/store"
	"tandem/core/results/study"
)

func (a *app) reportCommand() *cobra.Command {
	var metrics []string
	var level float64
	c := &cobra.Command{
		Use: "report EXPERIMENT", Short: "write an experiment as one HTML page: answer, table, charts, examples", Args: args(cobra.ExactArgs(1)),
		Long: "Write an experiment as one HTML page that needs nothing beside it and no network: the answer in words, the table of\n" +
			"runner ablation, charts, confusions, examples with their pictures, settings and environment.",
		Example:           "  runner report pooling -o pooling.html",
		ValidArgsFunction: a.completeExperiment,
	}
	a.pluginFlags(c)
	a.dbFlag(c)
	a.runsDirFlag(c)
	out := c.Flags().StringP("output", "o", "", "`file` to write (EXPERIMENT.html)")
	c.Flags().StringSliceVar(&metrics, "metric", nil, "compare these `metrics`, the first decides (the experiment's, with the other evaluation metrics beside it)")
	c.Flags().Float64Var(&level, "level", 0.95, "of the intervals; tests err once in 1/(1-`level`) times")
	bare := c.Flags().Bool("no-thumbnails", false, "leave out the pictures of examples")
	consent := c.Flags().Bool("thumbnails", false, "pictures also of runs that were not made here: starts the datasets, with the files, that the database names")
	c.MarkFlagsMutuallyExclusive("no-thumbnails", "thumbnails")
	c.RunE = func(c *cobra.Command, given []string) error {
		file := *out
		if file == "" {
			file = fileName(given[0]) + ".html"
		}
		ctx, end := canceled()
		defer end()
		return a.reading(ctx, func(r *store.Reader) error {
			t, err := study.Table(ctx, r, given[0], study.Options{Metrics: metrics, Level: level})
			if err != nil {
				return err
			}
			made := fmt.Sprintf("%s by runner %s", time.Now().UTC().Format("2006-01-02 15:04 UTC"), version)
			p, err := page.Gather(ctx, r, a.albums(*bare, *consent), t, made)
			if err != nil {
				return err
			}
			size, err := replaceFile(file, func(w io.Writer) error { return page.Write(w, p) })
			if err != nil {
				return err
			}
			if p.Outcome != nil && p.Outcome.NoPictures != "" && !*bare {
				say(a.stderr, "%s\n", p.Outcome.NoPictures)
			}
			_, err = say(a.stdout, "%s (%s)\n", file, report.Bytes(size))
			return err
		})
	}
	return c
}

// albums opens evaluations through the lab; bare leaves out the pictures. Of a run that was not made here nothing is opened
// without consent: its spec says which plugin is started and which files that reads, and the page shows them.
func (a *app) albums(bare, consent bool) page.Albums {
	return albumsOf(func(ctx context.Context, q gallery.Request) (*gallery.Album, error) {
		if q.Trusted = consent; bare {
			q.Indices, q.Keys = nil, nil
		}
		return gallery.Open(ctx, a.lab(), q)
	})
}

// albumsOf makes albums of what opens them.
func albumsOf(open func(context.Context, gallery.Request) (*gallery.Album, error)) page.Albums {
	return func(ctx context.Context, run *store.RunDetail, evaluation, target string, side int, indices []int, keys []string) (*page.Album, error) {
		album, err := open(ctx, gallery.Request{Run: run, Evaluation: evaluation, Target: target, Side: side, Indices: indices, Keys: keys})
		if err != nil {
			return nil, err
		}
		return &page.Album{Classes: album.Classes, Pictures: album.Pictures}, nil
	}
}

// fileName returns a name without what a path is made of.
func fileName(name string) string {
	clean := []rune(name)
	for i, r := range clean {
		if r == '/' || r == '\\' || r == 0 {
			clean[i] = '-'
		}
	}
	return string(clean)
}

// replaceFile writes a file whole or not at all: beside it, then in its place.
func replaceFile(name string, write func(io.Writer) error) (size int64, err error) {
	failed := func(err error) error {
		return fault.New(fault.Invalid, "cannot write %s: %w", name, err).WithHint("-o names another file")
	}
	if stat, err := os.Stat(name); err == nil && stat.IsDir() {
		return 0, fault.New(fault.Invalid, "cannot write %s: it is a folder", name).WithHint("-o names a file, such as %s", filepath.Join(name, "report.html"))
	}
	size, err = leftover.Replace(name, func(f *os.File) error { return write(f) })
	if err != nil {
		return 0, failed(err)
	}
	return size, nil
}
