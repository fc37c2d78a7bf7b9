package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"tandem/core/clip"
	"tandem/core/experiment/run"
	"tandem/core/experiment/schedule"
	"tandem/core/experiment/spec"
	"tandem/core/experiment/sweep"
	"tandem/core/fault"
	"tandem/core/results/report"
	"tandem/core/results/store"
)

func (a *app) runCommand() *cobra.Command {
	var quiet, noProgress bool
	var resume string
	var trackers []string
	c := &cobra.Command{
		Use:   "run SPEC | run --resume[=RUN]",
		Short: "train a spec and record everything",
		Long: `Train a spec: plugins start as separate processes, every number goes to the database.

A spec with an ablate block is a sweep: its trials run one after another, or --jobs at a time, those only that are
not done yet, and the same command goes on with what was interrupted or failed. Several runners may work on one
sweep. Trials compute with all cores (or with the spec's threads) whatever --jobs is, so that the numbers
stay the same.

Ctrl-C finishes the step, writes a checkpoint and stops (exit code 130); once more stops at once. So do SIGTERM, a
closed terminal (but for nohup) and a reader of the output that is gone.
Started by mpirun or srun --mpi=pmix, all ranks make each run together (docs/cluster.md): rank 0 records and prints, the
others print errors only, and the ranks of a machine divide its cores. SIGUSR2 stops like Ctrl-C; mpirun passes it on.

--resume goes on from the newest checkpoint: of the newest unfinished run, of the newest unfinished
run of SPEC, or of RUN (an id, a unique prefix or latest).

Exit codes: 0 done, 1 failed, 2 bad input (nothing was started), 130 interrupted.`,
		Example: "  runner run experiments/quickstart.yaml\n  runner run experiments/quickstart.yaml --set train.max_steps=100 --set seed=1\n  runner run --resume",
		Args:    args(cobra.MaximumNArgs(1)), Annotations: map[string]string{onRanks: "all"},
	}
	set := a.setFlag(c)
	a.pluginFlags(c)
	a.dbFlag(c)
	a.runsDirFlag(c)
	a.formatFlags(c, false)
	c.Flags().StringSliceVar(&trackers, "report", nil, "give the metrics to `TRACKERS` too, in place of the spec's: "+strings.Join(spec.Trackers(), ", ")+" (docs/trackers.md)")
	c.Flags().StringVar(&resume, "resume", "", "go on with an unfinished `RUN`")
	c.Flags().Lookup("resume").NoOptDefVal = anyRun
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "print the run's id only")
	c.Flags().BoolVar(&noProgress, "no-progress", false, "no progress, only what is lasting")
	var sweeping sweepFlags
	c.Flags().IntVarP(&sweeping.jobs, "jobs", "j", 1, "run `N` trials of a sweep at a time")
	c.Flags().BoolVar(&sweeping.rerun, "rerun", false, "run the trials of a sweep again that are done already")
	c.RunE = func(c *cobra.Command, given []string) error {
		if err := sweeping.check(); err != nil {
			return err
		}
		if len(trackers) > 0 {
			if resume != "" {
				return usage{fault.New(fault.Invalid, "--report with --resume: a run goes on with the trackers that it began with").WithHint("leave out one of the two")}
			}
			*set = append(*set, "report=["+strings.Join(trackers, ", ")+"]")
		}
		return a.together(c.Context(), sweeping.jobs, func() error {
			out := a.stderr
			if quiet {
				out = io.Discard
			}
			w := newProgress(out, !noProgress && !quiet)
			a.note = func(message string) { w.Say("%s", message) }
			do, trials, err := a.chooseTraining(given, *set, resume)
			if err != nil {
				return err
			}
			if trials != nil {
				return a.runSweep(c.Context(), trials, sweeping, quiet, !noProgress)
			}
			return a.runOne(c.Context(), do, w, quiet)
		})
	}
	return c
}

// runOne makes a run and says how it ended.
func (a *app) runOne(parent context.Context, do training, w *progress, quiet bool) error {
	ctx, stop, end := interruptible(parent, func() {
		w.Say("stopping after this step with a checkpoint; Ctrl-C again stops at once")
	})
	defer end()
	a.sayRanks(a.note)
	outcome, err := do(ctx, stop, w)
	a.hurry(ctx)
	w.Close()
	if err != nil {
		if outcome.ID != "" {
			w.Say("run %s failed", outcome.ID)
		}
		return err
	}
	if err := a.printOutcome(outcome, quiet, w.out); !errors.Is(err, syscall.EPIPE) {
		return err
	}
	return statusError(outcome) // nobody reads how it ended, but the run has
}

// anyRun stands for --resume without a value.
const anyRun = "newest"

type training func(context.Context, <-chan struct{}, run.Watcher) (run.Outcome, error)

// chooseTraining chooses what to do by the arguments, checking the spec first: a run, or the trials of a sweep.
func (a *app) chooseTraining(given, set []string, resume string) (training, *sweep.Sweep, error) {
	lab := a.lab()
	if len(given) == 0 {
		if resume == "" {
			return nil, nil, usage{fault.New(fault.Invalid, "which spec?").WithHint("runner run experiments/quickstart.yaml")}
		}
		if len(set) > 0 {
			return nil, nil, usage{fault.New(fault.Invalid, "--set with --resume: a run goes on as it began").WithHint("start a new run with the spec instead")}
		}
		ref := strings.TrimPrefix(resume, anyRun)
		return func(ctx context.Context, stop <-chan struct{}, w run.Watcher) (run.Outcome, error) {
			return run.Resume(ctx, lab, ref, stop, w)
		}, nil, nil
	}
	if resume != "" && resume != anyRun {
		return nil, nil, usage{fault.New(fault.Invalid, "a spec and --resume=RUN: a run goes on with the spec it began with").
			WithHint("leave out one of the two")}
	}
	trials, err := schedule.Load(lab, given[0], set)
	if err != nil {
		return nil, nil, err
	}
	if trials.Design != "" {
		return nil, trials, nil // it goes on by itself, with --resume and without
	}
	return func(ctx context.Context, stop <-chan struct{}, w run.Watcher) (run.Outcome, error) {
		if resume != "" {
			return run.ResumeSpec(ctx, lab, trials.Base, stop, w)
		}
		return run.Start(ctx, lab, trials.Base, stop, w)
	}, nil, nil
}

// printOutcome prints how a run ended and where to look next.
func (a *app) printOutcome(o run.Outcome, quiet bool, hints io.Writer) error {
	if quiet && !a.asJSON {
		fmt.Fprintln(a.stdout, o.ID)
		return statusError(o)
	}
	r, err := store.OpenReader(a.db)
	if err != nil {
		return err
	}
	defer r.Close()
	d, err := r.Get(context.Background(), o.ID)
	if err != nil {
		return err
	}
	if a.asJSON {
		if err := report.Show(a.stdout, report.JSON, d); err != nil {
			return err
		}
		return statusError(o)
	}
	fmt.Fprintln(hints)
	if err := report.Final(a.stdout, d); err != nil {
		return err
	}
	where, both := "", ""
	if a.db != usual(envDB, defaultDB) {
		where = " --db " + a.db
	}
	if both = where; a.runsDir != usual(envRunsDir, defaultRunsDir) {
		both += " --runs-dir " + a.runsDir
	}
	if o.Status == clip.StatusInterrupted {
		say(hints, "\ninterrupted at step %d; go on with\n  %s run --resume=%s%s\n", o.Result.Steps, program(), o.ID, both)
		return statusError(o)
	}
	say(hints, "\nnext\n  %[1]s show %[2]s%[3]s\n  %[1]s zeroshot %[2]s PICTURE --labels cat,dog,sun%[3]s\n  %[1]s list%[3]s\n", program(), o.ID, where)
	return nil
}

// program returns the command to type for this program: the path by which it was called, if it was.
func program() string {
	if strings.Contains(os.Args[0], "/") {
		return os.Args[0]
	}
	return "runner"
}
