package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tandem/core/experiment/garbage"
	"tandem/core/fault"
	"tandem/core/results/report"
)

// mostGarbageShown bounds the list for a person; --json has all of it.
const mostGarbageShown = 40

func (a *app) gcCommand() *cobra.Command {
	var o garbage.Options
	var yes bool
	var older string
	c := &cobra.Command{
		Use: "gc", Short: "delete what no run needs any more", Args: args(cobra.NoArgs),
		Long: `List what nothing needs, with sizes, and delete it once that is confirmed: on a terminal by answering y,
elsewhere by --yes. That is:

  - run folders of no run, here or in another database beside --db or beside --runs-dir, untouched for an hour
  - all checkpoints but the last of runs that are done, and half-written ones
  - example sets of no evaluation
  - with --failed-older-than: runs that failed longer ago, with all that is recorded of them
  - with --superseded: runs of which a newer one of the same spec, plugins and experiment is done

Runs in progress are never touched, nor is anything that a spec names as weights. At the end the database
gives back the space that holds nothing, bit by bit, while others write; one of before that was foreseen is written anew,
unless a run is in progress. A gc that was killed is completed by the next.`,
		Example: "  runner gc\n  runner gc --failed-older-than 30d --yes\n  runner gc --experiment pooling --superseded",
	}
	a.dbFlag(c)
	a.runsDirFlag(c)
	a.formatFlags(c, false)
	c.Flags().BoolVarP(&yes, "yes", "y", false, "delete without asking")
	c.Flags().StringVar(&older, "failed-older-than", "", "also runs that failed longer ago than this `time`: 30d, 12h")
	c.Flags().BoolVar(&o.Superseded, "superseded", false, "also runs that a newer one has replaced")
	c.Flags().StringVar(&o.Experiment, "experiment", "", "only runs of this experiment, for --superseded and --failed-older-than")
	c.RunE = func(*cobra.Command, []string) (err error) {
		if older != "" {
			if o.FailedOlderThan, err = parseDays(older); err != nil {
				return err
			}
		}
		if o.Experiment != "" && !o.Superseded && older == "" {
			return usage{fault.New(fault.Invalid, "--experiment chooses among runs, but no runs are asked for").
				WithHint("add --superseded or --failed-older-than 30d")}
		}
		ctx, end := canceled()
		defer end()
		found, err := garbage.Find(ctx, a.lab(), o)
		if err != nil {
			return err
		}
		if !a.asJSON {
			if err := a.printGarbage(found); err != nil {
				return err
			}
			yes = yes || len(found) > 0 && a.confirm("delete all of this?")
		}
		var done *garbage.Collected
		if yes {
			if done, err = garbage.Collect(ctx, a.lab(), found); err != nil {
				return err
			}
		}
		if a.asJSON {
			if found == nil {
				found = []garbage.Item{}
			}
			return report.Value(a.stdout, map[string]any{"garbage": found, "collected": done})
		}
		return a.printCollected(found, done)
	}
	return c
}

func (a *app) printGarbage(found []garbage.Item) error {
	var total int64
	var rows [][]any
	for _, g := range found {
		total += g.Bytes
		where := g.Path
		if where == "" {
			where = g.RunID
		}
		rows = append(rows, []any{g.Kind, where, g.Experiment, g.Why, report.Bytes(g.Bytes)})
	}
	if len(rows) == 0 {
		return nil
	}
	more := len(rows) - mostGarbageShown
	if more > 0 {
		rows = rows[:mostGarbageShown]
	}
	if err := report.Rows(a.stdout, report.Text, []string{"what", "where", "experiment", "why", "size"}, rows); err != nil {
		return err
	}
	if more > 0 {
		say(a.stdout, "… and %d more; --json lists all\n", more)
	}
	_, err := say(a.stdout, "%d to delete, %s\n", len(found), report.Bytes(total))
	return err
}

func (a *app) printCollected(found []garbage.Item, c *garbage.Collected) error {
	switch {
	case c == nil && len(found) == 0:
		_, err := fmt.Fprintln(a.stdout, "nothing to delete")
		return err
	case c == nil:
		_, err := fmt.Fprintln(a.stdout, "nothing was deleted; --yes deletes it")
		return err
	}
	for _, k := range c.Kept {
		say(a.stdout, "kept: %s\n", k)
	}
	_, err := say(a.stdout, "%d deleted, %s of folders; the database went from %s to %s\n",
		c.Deleted, report.Bytes(c.FolderBytes), report.Bytes(c.FileBefore), report.Bytes(c.FileAfter))
	return err
}

// confirm asks a question on a terminal; anything but y is no, and so is no terminal.
func (a *app) confirm(question string) bool {
	out, _ := report.Terminal(a.stdout)
	in, _ := report.Terminal(os.Stdin)
	if !out || !in {
		return false
	}
	say(a.stdout, "%s [y/N] ", question)
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	answer = strings.ToLower(strings.TrimSpace(answer))
	return err == nil && (answer == "y" || answer == "yes")
}

// parseDays reads a time such as 30d, or one of time.ParseDuration.
func parseDays(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if n, isDays := strings.CutSuffix(text, "d"); isDays {
		var count float64
		count, err = strconv.ParseFloat(n, 64)
		d = time.Duration(count * 24 * float64(time.Hour))
	}
	if err != nil || d <= 0 {
		return 0, usage{fault.New(fault.Invalid, "%q is no time", text).WithHint("30d, 12h or 90m")}
	}
	return d, nil
}
