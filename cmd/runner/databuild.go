package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tandem/core/data/build"
	"tandem/core/experiment/infer"
	"tandem/core/fault"
	"tandem/core/media/vision"
	"tandem/core/results/report"
)

func (a *app) dataBuildCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "build [BUILD.yaml]", Short: "make a set of pairs from web archives, pages and lists", Args: args(cobra.MaximumNArgs(1)),
		Long: `Make a set of pairs from web archives (WARC), folders of HTML and lists of pictures: choose a caption for each picture,
filter, take out duplicates, and write webdataset shards with a manifest and a report page. A build that was
interrupted or killed goes on when the command is given again. docs/data-build.md has all keys of BUILD.yaml.`,
		Example: `  runner data build --html /usr/share/doc/gimp -o data/gimp
  runner data build BUILD.yaml --without repeated,flat -o data/all`,
	}
	a.formatFlags(c, false)
	f := c.Flags()
	out := f.StringP("output", "o", "", "`folder` to build in; default: out of the file")
	warcs := f.StringArray("warc", nil, "web archive to read: a `file` or a pattern; may be given several times")
	pages := f.StringArray("html", nil, "`folder` of HTML to read; may be given several times")
	lists := f.StringArray("list", nil, "list of pictures and captions to read: a `file` of CSV, JSON lines or text; may be given several times")
	without := f.StringSlice("without", nil, "`filters` to turn off")
	with := f.StringSlice("with", nil, "`filters` to turn on")
	rejudge := f.Bool("rejudge", false, "take other filters, captions or shards than before on what is collected, and read and fetch nothing again")
	page := f.Bool("report", false, "write the report page again, and do nothing else")
	quiet := f.BoolP("quiet", "q", false, "no progress")
	c.RunE = func(_ *cobra.Command, given []string) error {
		config := &build.Config{}
		if *config = build.Defaults(); len(given) > 0 {
			var err error
			if config, err = build.Load(given[0]); err != nil {
				return err
			}
		}
		if err := flagSources(config, *warcs, *pages, *lists); err != nil {
			return err
		}
		for on, names := range map[bool][]string{false: *without, true: *with} {
			for _, name := range names {
				if err := config.SetFilter(name, on); err != nil {
					return usage{err}
				}
			}
		}
		switch {
		case *out != "":
			config.Out = *out
		case config.Out != "" && !filepath.IsAbs(config.Out):
			config.Out = filepath.Join(config.Dir, config.Out)
		}
		if len(given) == 0 && len(config.Sources) == 0 {
			return usage{fault.New(fault.Invalid, "nothing to build from").WithHint("name a BUILD.yaml, or --warc, --html or --list")}
		}
		return a.buildData(config, *rejudge, *page, *quiet)
	}
	return c
}

// flagSources adds the sources that flags name. They are meant from the working directory.
func flagSources(c *build.Config, warcs, pages, lists []string) error {
	add := func(names []string, set func(*build.SourceSpec, string)) error {
		for _, name := range names {
			if !strings.Contains(name, "://") {
				abs, err := filepath.Abs(name)
				if err != nil {
					return fault.New(fault.Unavailable, "%w", err)
				}
				name = abs
			}
			var s build.SourceSpec
			set(&s, name)
			c.Sources = append(c.Sources, s)
		}
		return nil
	}
	if err := add(warcs, func(s *build.SourceSpec, n string) { s.WARC = n }); err != nil {
		return err
	}
	if err := add(pages, func(s *build.SourceSpec, n string) { s.HTML = n }); err != nil {
		return err
	}
	return add(lists, func(s *build.SourceSpec, n string) { s.List = n })
}

// buildData builds a set, or writes its report page alone.
func (a *app) buildData(config *build.Config, rejudge, page, quiet bool) error {
	ctx, end := canceled()
	defer end()
	w := newBuildProgress(a.stderr, !quiet)
	defer w.close()
	if page {
		path, err := build.Report(ctx, config, w)
		if err != nil {
			return err
		}
		w.close()
		_, err = say(a.stdout, "%s\n", path)
		return err
	}
	o := build.Options{Watcher: w, Rejudge: rejudge}
	if config.Filters.Similarity.On {
		m := &matcher{open: func(ctx context.Context) (*infer.Matcher, error) {
			return infer.NewMatcher(ctx, a.lab(), config.Filters.Similarity.Value.Run)
		}}
		defer m.close()
		o.Score = m.score
	}
	s, err := build.Build(ctx, config, o)
	w.close()
	if err != nil {
		return err
	}
	if a.asJSON {
		return report.Value(a.stdout, struct {
			Folder   string `json:"folder"`
			UpToDate bool   `json:"up_to_date"`
			*build.Summary
		}{s.Folder, s.UpToDate, s})
	}
	return a.showBuilt(s)
}

// matcher starts the towers of a run when something is to be matched, and not before.
type matcher struct {
	open func(context.Context) (*infer.Matcher, error)
	m    *infer.Matcher
}

func (m *matcher) score(ctx context.Context, pictures []vision.Picture, captions []string) (scores []float32, err error) {
	if m.m == nil {
		if m.m, err = m.open(ctx); err != nil {
			return nil, err
		}
	}
	return m.m.Match(ctx, pictures, captions)
}

func (m *matcher) close() {
	if m.m != nil {
		m.m.Close()
	}
}

// showBuilt tells a person what a build gave.
func (a *app) showBuilt(s *build.Summary) error {
	if s.UpToDate {
		say(a.stderr, "%s is built already; there is nothing to do\n\n", s.Folder)
	}
	left := s.Candidates
	rows := [][]any{{"candidates", "", "", s.Candidates}}
	for _, r := range s.Refused {
		left -= r.Count
		rows = append(rows, []any{r.Filter, r.Reason, r.Count, left})
	}
	if err := report.Rows(a.stdout, a.format(), []string{"filter", "reason", "refused", "left"}, rows); err != nil {
		return err
	}
	if len(s.Skipped) > 0 {
		var parts []string
		for _, x := range s.Skipped {
			if x.Stage != "captions" {
				parts = append(parts, fmt.Sprintf("%s: %s %s", x.Stage, x.Reason, report.Count(float64(x.Count))))
			}
		}
		if len(parts) > 0 {
			say(a.stderr, "\nnever candidates: %s\n", strings.Join(parts, "; "))
		}
	}
	page := filepath.Join(s.Folder, "report.html")
	if s.Kept == 0 {
		return fault.New(fault.NotFound, "no pair is left of %s candidates on %s pages", report.Count(float64(s.Candidates)), report.Count(float64(s.Pages))).
			WithHint("the table says what refused them, and %s shows examples; name the folder that has the pictures too", page)
	}
	_, err := say(a.stderr, "\n%s pairs of %s pages in %d shards, %s\n%s\nlook at %s\n", report.Count(float64(s.Kept)), report.Count(float64(s.Pages)), s.Shards,
		report.Bytes(s.Bytes), s.Digest, page)
	return err
}

// buildProgress shows how a build goes on: a live line on a terminal, a line now and then elsewhere.
type buildProgress struct {
	out   io.Writer
	on    bool
	live  bool
	shown bool // a live line is on the screen
	doing string
	began time.Time // of what is being done
	first int64     // that was done when it began
	drawn time.Time
}

func newBuildProgress(out io.Writer, on bool) *buildProgress {
	terminal, _ := report.Terminal(out)
	return &buildProgress{out: out, on: on, live: terminal}
}

// Progress implements build.Watcher.
func (p *buildProgress) Progress(doing string, done, total int64) {
	now := time.Now()
	if doing != p.doing {
		p.doing, p.began, p.first, p.drawn = doing, now, done, time.Time{}
		if !p.live {
			p.drawn = now // what is done at once needs no line
		}
	}
	every := lineEvery
	if p.live {
		every = redrawEvery
	}
	if !p.on || now.Sub(p.drawn) < every {
		return
	}
	p.drawn = now
	text := doing
	if total > 0 {
		text += fmt.Sprintf("  %.0f %%", 100*float64(done)/float64(total))
		if spent := now.Sub(p.began).Seconds(); spent > 2 && done > p.first && done < total {
			text += "  ETA " + eta(spent*float64(total-done)/float64(done-p.first))
		}
	}
	p.clear()
	if p.live {
		fmt.Fprint(p.out, fault.PrintableLine(text))
		p.shown = true
		return
	}
	fmt.Fprintln(p.out, fault.PrintableLine(text))
}

// Say implements build.Watcher.
func (p *buildProgress) Say(text string) {
	p.clear()
	fmt.Fprintln(p.out, fault.Printable(text))
}

func (p *buildProgress) clear() {
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[2K")
		p.shown = false
	}
}

func (p *buildProgress) close() { p.clear() }
