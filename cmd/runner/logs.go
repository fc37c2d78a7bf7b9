package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tandem/core/clip"
	"tandem/core/experiment/lab"
	"tandem/core/fault"
	"tandem/core/plugin/journal"
	"tandem/core/results/report"
	"tandem/core/results/store"
)

// followEvery sets how often a log is looked at that is followed, and stateEvery whether its run goes on.
const (
	followEvery = 200 * time.Millisecond
	stateEvery  = time.Second
)

// logView shows records of plugins.
type logView struct {
	out    io.Writer
	json   bool
	colour bool
	plugin string // role or name; "": all
	level  string // the least grave that is shown
	width  int    // of roles
}

func (a *app) logsCommand() *cobra.Command {
	v := &logView{}
	c := &cobra.Command{
		Use: "logs RUN", Short: "show what the plugins of a run wrote", Args: args(cobra.ExactArgs(1)),
		Long: `Show what the plugins of a run wrote to stderr, by time, each line with its level and the role of its plugin. RUN is an id,
a prefix of one or latest.`,
		Example: "  runner logs latest --plugin loss -f\n  runner logs 1k2m --level warn --json",
	}
	a.dbFlag(c)
	a.runsDirFlag(c)
	a.formatFlags(c, false)
	c.Flags().StringVar(&v.plugin, "plugin", "", "only those of this `plugin`: a role of the run (image, text, loss, data.train, eval.NAME) or a name (losses/clip, clip)")
	c.Flags().StringVar(&v.level, "level", journal.Debug, "only lines at least as grave as this `level`: "+strings.Join(journal.Levels, ", "))
	follow := c.Flags().BoolP("follow", "f", false, "go on until the run ends")
	_ = c.RegisterFlagCompletionFunc("plugin", a.completeLogged)
	_ = c.RegisterFlagCompletionFunc("level", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return journal.Levels, cobra.ShellCompDirectiveNoFileComp
	})
	c.RunE = func(c *cobra.Command, given []string) error {
		if !slices.Contains(journal.Levels, v.level) {
			return usage{fault.New(fault.Invalid, "unknown level %q", v.level).WithHint("%s", strings.Join(journal.Levels, ", "))}
		}
		terminal, _ := report.Terminal(a.stdout)
		v.out, v.json, v.colour = a.stdout, a.asJSON, terminal && os.Getenv("NO_COLOR") == ""
		ctx, end := canceled()
		defer end()
		var run *store.RunDetail
		if err := a.reading(ctx, func(r *store.Reader) (err error) {
			run, err = findDetail(ctx, r, given[0])
			return err
		}); err != nil {
			return err
		}
		dir := a.logsDir(run.ID)
		if _, err := os.Stat(dir); err != nil && (run.Status != string(clip.StatusRunning) || !*follow) {
			return fault.New(fault.NotFound, "run %s has no logs in --runs-dir %s", run.ID, a.runsDir).
				WithHint("logs are in the folder of runs where the run was made; runner show %s tells how it ended", run.ID)
		}
		return a.showLogs(ctx, v, run.ID, dir, *follow)
	}
	return c
}

// findDetail returns the run that ref names.
func findDetail(ctx context.Context, r *store.Reader, ref string) (*store.RunDetail, error) {
	id, err := r.FindRun(ctx, ref)
	if err != nil {
		return nil, err
	}
	return r.Get(ctx, id)
}

func (a *app) logsDir(id string) string {
	return filepath.Join(lab.Lab{RunsDir: a.runsDir}.Dir(id), lab.LogsDir)
}

// showLogs prints what there is and, when it follows, what comes until the run ends.
func (a *app) showLogs(ctx context.Context, v *logView, id, dir string, follow bool) error {
	in := journal.NewReader(dir)
	seen := map[string]bool{}
	var looked time.Time
	for ended := !follow; ; {
		records, err := in.Next()
		if err != nil {
			return fault.New(fault.Unavailable, "%w", err)
		}
		for _, r := range records {
			seen[r.Role], seen[r.Plugin] = true, true
			if err := v.show(r); err != nil {
				return err
			}
		}
		if ended {
			break
		}
		if time.Since(looked) > stateEvery {
			looked = time.Now()
			if err := a.reading(ctx, func(r *store.Reader) error {
				run, err := findDetail(ctx, r, id)
				ended = err == nil && run.Status != string(clip.StatusRunning)
				return err
			}); err != nil && fault.KindOf(err) != fault.Canceled {
				return err
			}
			if ended {
				continue // what was written last
			}
		}
		select {
		case <-ctx.Done():
			return errInterrupted
		case <-time.After(followEvery):
		}
	}
	delete(seen, "")
	if len(seen) == 0 {
		_, err := say(a.stderr, "the plugins of run %s wrote nothing\n", id)
		return err
	}
	if v.plugin != "" && len(seen) > 0 && !slices.ContainsFunc(slices.Collect(maps.Keys(seen)), v.means) {
		return fault.New(fault.NotFound, "no plugin %q wrote anything in run %s", v.plugin, id).
			WithHint("these did: %s", strings.Join(slices.Sorted(maps.Keys(seen)), ", "))
	}
	return nil
}

// means reports whether a role or a name of a plugin is the one that is asked for.
func (v *logView) means(name string) bool {
	return v.plugin == "" || name == v.plugin || name != "" && path.Base(name) == v.plugin
}

// The colours of levels on a terminal.
var levelColours = map[string]string{journal.Debug: "\x1b[2m", journal.Warn: "\x1b[33m", journal.Error: "\x1b[31m"}

func (v *logView) show(r journal.Record) error {
	if !v.means(r.Role) && !v.means(r.Plugin) || slices.Index(journal.Levels, r.Level) < slices.Index(journal.Levels, v.level) {
		return nil
	}
	if v.json {
		text, err := json.Marshal(r)
		if err != nil {
			return fault.New(fault.Internal, "%w", err)
		}
		_, err = fmt.Fprintf(v.out, "%s\n", text)
		return err
	}
	at := strings.Repeat(" ", len("15:04:05.000"))
	if !r.Time.IsZero() {
		at = r.Time.Local().Format("15:04:05.000")
	}
	v.width = max(v.width, len(r.Role))
	line := r.Message
	for _, key := range slices.Sorted(maps.Keys(r.Fields)) {
		line += fmt.Sprintf(" %s=%v", key, r.Fields[key])
	}
	line = fault.Printable(fmt.Sprintf("%s %-5s %-*s %s", at, r.Level, v.width, r.Role, line))
	if colour := levelColours[r.Level]; v.colour && colour != "" {
		line = colour + line + "\x1b[0m"
	}
	_, err := fmt.Fprintln(v.out, line)
	return err
}

// completeLogged completes the roles and names of the plugins that wrote something in the run.
func (a *app) completeLogged(c *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(given) == 0 {
		return []string{"image", "text", "loss", "data.train"}, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeFrom(func(r *store.Reader) ([]string, error) {
		run, err := findDetail(c.Context(), r, given[0])
		if err != nil {
			return nil, err
		}
		var words []string
		for _, p := range run.Plugins {
			words = append(words, p.Role+"\t"+p.Name)
		}
		return words, nil
	})
}
