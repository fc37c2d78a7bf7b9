package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"tandem/core/experiment/bundle"
	"tandem/core/experiment/schedule"
	"tandem/core/experiment/slurm"
	"tandem/core/experiment/task"
	"tandem/core/fault"
	"tandem/core/results/report"
)

// sbatchFlags lists the flags of submit that become options of sbatch, with sbatch's own names and what they take.
var sbatchFlags = []struct{ flag, short, sbatch, help string }{
	{"partition", "p", "partition", "`partition` of the cluster: sinfo -s lists them"},
	{"time", "t", "time", "`limit` of each task, as sbatch takes it (1-12:00:00); what is not done by then goes on in a new one"},
	{"gpus", "", "gpus", "`number` of GPUs of each task, or, as sbatch takes it, a100:1"},
	{"cpus", "", "cpus-per-task", "`cores` of each task; threads in the spec should be as many"},
	{"mem", "", "mem", "`memory` of each task: 16G; 16Gi for Kubernetes"},
	{"account", "A", "account", "`account` that pays"},
	{"qos", "", "qos", "`quality` of service"},
	{"nodes-constraint", "", "constraint", "`features` that nodes must have: a100|h100"},
	{"nodelist", "", "nodelist", "`nodes` to run on"},
	{"exclude", "", "exclude", "`nodes` not to run on"},
	{"reservation", "", "reservation", "`reservation` to run in"},
	{"gres", "", "gres", "generic `resources` of each task: gpu:a100:1"},
}

// envBundles names the variable that --bundles has its default from.
const envBundles = "RUNNER_BUNDLES"

type submitFlags struct {
	slurm, dryRun, noMerge bool
	kubernetes             kubernetesFlags
	values                 map[string]*string // of sbatchFlags
	options                slurm.Options
}

func (a *app) submitCommand() *cobra.Command {
	f := submitFlags{values: map[string]*string{}}
	var bundles string
	c := &cobra.Command{
		Use: "submit SPEC", Short: "run a sweep on a cluster: freeze it, and hand its trials to Slurm or Kubernetes",
		Long: `Freeze a spec and everything that its trials need (specs, plugins, weights, this runner) in a folder that all nodes see, and submit one
array of tasks that make the trials. The command returns at once; runner status EXPERIMENT tells how it goes.

Tasks take trials by leases in the shared folder, so that none is made twice. Before its time is over a task writes a checkpoint, gives its
trial back and asks Slurm to be started again; after a preemption or the failure of a node the trial goes on from its last checkpoint, on any
node. Failures are tried again by their kind, as ablate.retries says. A last job merges the results into --db. Submitting
the same again starts nothing while it is in the queue or done, and goes on with what is left otherwise.

Everything lies in --bundles, which has to be on a file system that every node sees under the same path, and so has the data. Nothing else is
needed: no accounting, no service, no rights.

With --kubernetes the command writes an Indexed Job for kubectl apply, a pod for each task, and a suspended Job that merges. The claim's
folder has the same path in pods and on this machine; the image needs the runner's libraries only.`,
		Example: "  runner submit sweep.yaml --slurm --partition gpu --time 4:00:00 --gpus 1 --cpus 8\n  runner submit sweep.yaml --slurm --array-limit 16 --sbatch '--exclusive' --dry-run\n  runner submit sweep.yaml --kubernetes --image registry/tandem:1 --claim shared --gpus 1 --mem 32Gi -o jobs.yaml",
		Args:    args(cobra.ExactArgs(1)),
	}
	set := a.setFlag(c)
	a.pluginFlags(c)
	a.dbFlag(c)
	a.formatFlags(c, false)
	c.Flags().BoolVar(&f.slurm, "slurm", false, "submit to Slurm")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "print the scripts and what would be done; nothing is written")
	c.Flags().BoolVar(&f.noMerge, "no-merge", false, "submit no job that merges: runner merge BUNDLE does it by hand")
	a.bundlesFlag(c, &bundles)
	f.kubernetes.add(c)
	for _, x := range sbatchFlags {
		f.values[x.sbatch] = c.Flags().StringP(x.flag, x.short, "", x.help)
	}
	c.Flags().StringArrayVar(&f.options.Raw, "sbatch", nil, "any other `option` of sbatch, as often as wanted: '--exclusive'")
	c.Flags().IntVar(&f.options.AtOnce, "array-limit", 0, "run at most `N` tasks at a time")
	c.Flags().IntVar(&f.options.Tasks, "tasks", 0, "make the array of `N` tasks (default: as many as trials are left, at most 1000)")
	c.Flags().DurationVar(&f.options.Lead, "lead", slurm.Lead, "`time` before the end of a task at which it is told, to write a checkpoint in")
	lease := leaseFlag(c)
	c.RunE = func(c *cobra.Command, given []string) error {
		if err := f.check(given[0]); err != nil {
			return usage{err}
		}
		for _, x := range sbatchFlags {
			if v := *f.values[x.sbatch]; v != "" {
				f.options.Directives = append(f.options.Directives, slurm.Directive{Name: x.sbatch, Value: v})
			}
		}
		f.options.Lease = *lease
		return a.submit(c.Context(), given[0], *set, a.bundlesDir(bundles), f)
	}
	return c
}

// bundlesFlag gives a command the flag that says where bundles are.
func (a *app) bundlesFlag(c *cobra.Command, at *string) {
	c.Flags().StringVar(at, "bundles", usual(envBundles, ""), "`folder` of what is submitted, which every node sees (default: cluster beside --db); $"+envBundles+" names another default")
}

func (a *app) bundlesDir(given string) string {
	if given != "" {
		return given
	}
	return filepath.Join(filepath.Dir(a.db), "cluster")
}

// maxTasks limits the array that submit makes by itself: Slurm's MaxArraySize is 1001 unless a cluster says otherwise.
const maxTasks = 1000

// Submitted is what submit prints as JSON.
type Submitted struct {
	Experiment string `json:"experiment"`
	Bundle     string `json:"bundle"`
	Trials     int    `json:"trials"`
	Done       int    `json:"done"`
	Tasks      int    `json:"tasks"` // submitted; 0: nothing was started
	Array      string `json:"array_job,omitempty"`
	Merge      string `json:"merge_job,omitempty"`
	Why        string `json:"why,omitempty"` // nothing was started
	Script     string `json:"script,omitempty"`
	MergeScr   string `json:"merge_script,omitempty"`
}

func (a *app) submit(ctx context.Context, file string, set []string, root string, f submitFlags) error {
	if f.slurm && !f.dryRun {
		if err := slurm.Available(); err != nil {
			return err
		}
	}
	s, err := schedule.Load(a.lab(), file, set)
	if err != nil {
		return err
	}
	b, err := bundle.Freeze(a.lab(), s, bundle.Options{Root: root, DryRun: f.dryRun})
	if err != nil {
		return err
	}
	db, err := filepath.Abs(a.db)
	if err != nil {
		return fault.New(fault.Invalid, "%w", err)
	}
	out := Submitted{Experiment: b.Name(), Bundle: b.Dir, Trials: len(b.Trials())}
	if !f.dryRun {
		done, why, err := a.alone(ctx, b)
		if err != nil {
			return err
		}
		defer done()
		if out.Why = why; why != "" {
			return a.printSubmitted(out)
		}
	}
	if f.options.Round, err = b.NextRound(); err != nil {
		return err
	}
	if f.options.Lease, err = leaseOf(f.options.Lease, b); err != nil {
		return err
	}
	if !f.noMerge {
		f.options.DB = db
		if kind := networkFileSystem(db); kind != "" {
			a.say(fmt.Sprintf("%s lies on %s: several hosts that open it can corrupt it. Give --db on this machine's disk with --no-merge and --bundles, then runner merge BUNDLE", a.db, kind))
		}
	}
	if !f.dryRun {
		if f.slurm {
			jobs, err := slurm.Queue(ctx, slurm.Comment(b))
			if err != nil {
				return err
			}
			if len(jobs) > 0 {
				out.Why = fmt.Sprintf("job %s is in the queue", jobs[0].Array())
				return a.printSubmitted(out)
			}
		}
		if err := task.Plan(ctx, b, db, false); err != nil {
			return err
		}
		if _, err := task.Adopt(ctx, b, db, f.options.Lease, thisOwner()); err != nil {
			return err
		}
	}
	all, err := task.Survey(b, f.options.Round, f.options.Lease)
	if err != nil {
		return err
	}
	for _, l := range all {
		if l.State.Over() != nil {
			out.Done++
		}
	}
	lacking, err := task.Lacking(ctx, b, db, all)
	if err != nil {
		return err
	}
	for _, l := range lacking {
		a.say(fmt.Sprintf("trial %s (run %s) counts as done, but %s has no results of it: %s. Merge that database into this one (runner merge OTHER.db --db %s), or remove %s to have it made again",
			l.ID, l.State.Over().Run, a.db, l.State.Over().Message, shellWord(a.db), filepath.Join(b.TrialsDir(), l.ID)))
	}
	left := len(all) - out.Done
	if left == 0 {
		out.Why = fmt.Sprintf("all %d trials are done", len(all))
		return a.printSubmitted(out)
	}
	if out.Tasks = f.options.Tasks; out.Tasks == 0 {
		out.Tasks = min(left, maxTasks)
	}
	f.options.Tasks = out.Tasks
	if err := f.options.Check(); err != nil {
		return usage{err}
	}
	if f.kubernetes.on {
		return a.writeJobs(b, f, out)
	}
	if f.dryRun {
		out.Script, out.Why = slurm.Script(b, f.options), "dry run"
		if f.options.DB != "" {
			out.MergeScr = slurm.MergeScript(b, f.options, "JOB")
		}
		return a.printSubmitted(out)
	}
	started, err := slurm.Start(ctx, b, f.options)
	out.Array, out.Merge = started.Array, started.Merge
	if out.Array == "" {
		return err
	}
	if err != nil {
		err = fault.New(fault.KindOf(err), "the array is submitted as job %s, but its merge is not: %w", out.Array, err).
			WithHint("when it has ended: runner merge %s --db %s", b.Dir, shellWord(a.db))
	}
	return errors.Join(a.printSubmitted(out), err)
}

// alone waits until nobody else submits. why is not empty when somebody has submitted this bundle meanwhile.
func (a *app) alone(ctx context.Context, b *bundle.Bundle) (done func(), why string, err error) {
	before, err := b.Submissions()
	if err != nil {
		return nil, "", err
	}
	if done, err = task.Submitting(ctx, b, thisOwner(), a.say); err != nil {
		return nil, "", err
	}
	after, err := b.Submissions()
	if err != nil {
		done()
		return nil, "", err
	}
	if len(after) > len(before) {
		why = "another process has submitted it just now"
	}
	return done, why, nil
}

func (a *app) printSubmitted(s Submitted) error {
	if a.asJSON {
		return report.Value(a.stdout, s)
	}
	if s.Script != "" {
		fmt.Fprint(a.stdout, s.Script)
		if s.MergeScr != "" {
			fmt.Fprint(a.stdout, "\n", s.MergeScr)
		}
		say(a.stderr, "dry run, nothing was written: %d trials, %d done; the bundle would be %s\n", s.Trials, s.Done, s.Bundle)
		return nil
	}
	where := ""
	if a.db != usual(envDB, defaultDB) {
		where = " --db " + shellWord(a.db)
	}
	if s.Why != "" {
		say(a.stdout, "%s: %s; nothing was submitted\n", s.Experiment, s.Why)
		if strings.HasPrefix(s.Why, "all ") {
			say(a.stderr, "  %s merge %s%s joins the results, if they are not in the database yet\n", program(), shellWord(s.Bundle), where)
		}
		return nil
	}
	say(a.stdout, "%s: %d trials in an array of %d tasks, job %s", s.Experiment, s.Trials-s.Done, s.Tasks, s.Array)
	if s.Done > 0 {
		say(a.stdout, "; %d are done", s.Done)
	}
	if s.Merge != "" {
		say(a.stdout, "; then job %s merges the results into %s", s.Merge, a.db)
	}
	say(a.stdout, "\n")
	say(a.stderr, "\nnext\n  %[1]s status %[2]s%[3]s\n  %[1]s cancel %[2]s%[3]s\n", program(), shellWord(s.Experiment), where)
	return nil
}
