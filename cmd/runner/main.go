// Command runner trains CLIP-style models from experiment specs and keeps what they yield. It is
// flags and wiring; the packages below core/experiment do the work.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tandem/core/clip"
	"tandem/core/experiment/lab"
	"tandem/core/experiment/run"
	"tandem/core/fault"
	"tandem/core/plugin/catalog"
	"tandem/core/results/report"
)

// The exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitBadInput    = 2
	exitInterrupted = 130
)

// Where results go unless flags say otherwise.
const (
	defaultDB      = "results/results.db"
	defaultRunsDir = "results/runs"
)

// The variables that --db and --runs-dir have their defaults from.
const (
	envDB      = "RUNNER_DB"
	envRunsDir = "RUNNER_RUNS_DIR"
)

// usual returns a variable's value, or what is usual without it.
func usual(variable, otherwise string) string {
	if v := os.Getenv(variable); v != "" {
		return v
	}
	return otherwise
}

// version names the release; its build may set it.
var version = "0.1.0"

func main() {
	os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr))
}

// errInterrupted ends a command that the user stopped, when all has been said.
var errInterrupted = errors.New("interrupted")

// alreadySaid ends a command with an exit code when what went wrong stands on stderr already.
type alreadySaid struct{ code int }

func (e alreadySaid) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// usage marks errors of the command line.
type usage struct{ error }

func (u usage) Unwrap() error { return u.error }

func execute(args []string, stdout, stderr io.Writer) int {
	a := &app{catalog: catalog.New()}
	root := a.root()
	n := rank()
	if n > 0 && asRank(n, root, args, &stdout, &stderr) {
		return exitOK
	}
	a.stdout, a.stderr = stdout, stderr
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.Execute()
	if err == nil {
		return exitOK
	}
	var said alreadySaid
	var bad usage // which rank 0 tells
	if !errors.Is(err, errInterrupted) && !errors.As(err, &said) && !(n > 0 && errors.As(err, &bad)) {
		fmt.Fprintln(stderr, fault.Format(err))
	}
	return exitCode(err)
}

func exitCode(err error) int {
	var u usage
	var said alreadySaid
	switch {
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.As(err, &said):
		return said.code
	case errors.As(err, &u):
		return exitBadInput
	}
	switch fault.KindOf(err) {
	case fault.Invalid, fault.NotFound:
		return exitBadInput
	case fault.Canceled:
		return exitInterrupted
	}
	return exitFailed
}

// say prints to a terminal as fmt.Fprintf does, safely: what others wrote, in the arguments, cannot move the cursor or worse.
func say(w io.Writer, format string, args ...any) (int, error) {
	return io.WriteString(w, fault.Printable(fmt.Sprintf(format, args...)))
}

// app holds what the commands share.
type app struct {
	stdout, stderr io.Writer
	catalog        *catalog.Catalog
	db, runsDir    string
	asJSON, asCSV  bool
	note           func(string) // prints a line about what is waited for; nil: on stderr
	ranks          lab.Ranks    // with whom runs are made
	hasty          bool         // the ranks were told to end at once
}

func (a *app) lab() lab.Lab {
	return lab.Lab{DB: a.db, RunsDir: a.runsDir, Catalog: a.catalog, Note: a.say, Ranks: a.ranks}
}

// say prints a line for a person, above what is live on the terminal.
func (a *app) say(message string) {
	if a.note != nil {
		a.note(message)
		return
	}
	fmt.Fprintln(a.stderr, message)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "runner",
		Short:         "train CLIP-style models from experiment specs and compare what they learn",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		e := fault.New(fault.Invalid, "%w", err).WithHint("%s --help lists the flags", c.CommandPath())
		if _, word, found := strings.Cut(err.Error(), "unknown flag: --"); found {
			var names []string
			c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
			if near := fault.Nearest(word, names); near != "" {
				e.WithHint("did you mean --%s?", near)
			}
		}
		return usage{e}
	})
	root.AddCommand(
		a.runCommand(), a.initCommand(), a.explainCommand(), a.schemaCommand(),
		a.listCommand(), a.leaderboardCommand(), a.showCommand(), a.logsCommand(), a.compareCommand(), a.ablationCommand(), a.reportCommand(), a.serveCommand(), a.topCommand(), a.queryCommand(),
		a.zeroshotCommand(), a.retrieveCommand(), a.evalCommand(), a.blendCommand(), a.embedCommand(), a.importCommand(), a.exportCommand(), a.benchCommand(), a.profileCommand(),
		a.mergeCommand(), a.gcCommand(),
		a.submitCommand(), a.statusCommand(), a.cancelCommand(), a.taskCommand(),
		a.dataCommand(), a.modelsCommand(), a.tokenizeCommand(), a.pluginCommand(), a.devicesCommand(), a.versionCommand(),
	)
	a.group(root)
	a.complete(root)
	return root
}

// group makes a command that only has commands below it: it prints its help, and a word that is none
// of them is a fault.
func (a *app) group(c *cobra.Command) {
	c.Args = func(c *cobra.Command, given []string) error {
		if len(given) == 0 {
			return nil
		}
		e := fault.New(fault.Invalid, "%s: unknown command %q", c.CommandPath(), given[0]).WithHint("%s --help lists the commands", c.CommandPath())
		if near := c.SuggestionsFor(given[0]); len(near) > 0 {
			e.WithHint("did you mean %s?", strings.Join(near, " or "))
		}
		return usage{e}
	}
	c.SuggestionsMinimumDistance = 2
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
}

// args turns cobra's complaints about arguments into faults.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, given []string) error {
		if err := check(c, given); err != nil {
			return usage{fault.New(fault.Invalid, "%s: %w", c.CommandPath(), err).WithHint("usage: %s", c.UseLine())}
		}
		return nil
	}
}

func (a *app) dbFlag(c *cobra.Command) {
	c.Flags().StringVar(&a.db, "db", usual(envDB, defaultDB), "results database `file`; $"+envDB+" names another default")
}

func (a *app) runsDirFlag(c *cobra.Command) {
	c.Flags().StringVar(&a.runsDir, "runs-dir", usual(envRunsDir, defaultRunsDir), "`folder` of checkpoints and logs, one below it per run; $"+envRunsDir+" names another default")
}

func (a *app) formatFlags(c *cobra.Command, csv bool) {
	c.Flags().BoolVar(&a.asJSON, "json", false, "print JSON")
	if csv {
		c.Flags().BoolVar(&a.asCSV, "csv", false, "print CSV")
		c.MarkFlagsMutuallyExclusive("json", "csv")
	}
}

func (a *app) format() report.Format {
	switch {
	case a.asJSON:
		return report.JSON
	case a.asCSV:
		return report.CSV
	}
	return report.Text
}

func (a *app) setFlag(c *cobra.Command) *[]string {
	return c.Flags().StringArray("set", nil, "override a `key=value` of the spec, as often as wanted: train.lr=1e-3")
}

// statusError returns the end of a run as an error: nil for done.
func statusError(o run.Outcome) error {
	if o.Status == clip.StatusInterrupted {
		return errInterrupted
	}
	return nil
}
