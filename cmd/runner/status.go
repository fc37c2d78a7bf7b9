package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tandem/core/experiment/bundle"
	"tandem/core/experiment/kubernetes"
	"tandem/core/experiment/ledger"
	"tandem/core/experiment/slurm"
	"tandem/core/experiment/task"
	"tandem/core/fault"
	"tandem/core/results/report"
)

func (a *app) statusCommand() *cobra.Command {
	var bundles string
	c := &cobra.Command{
		Use: "status EXPERIMENT", Short: "tell how a sweep on a cluster goes: its trials, and what of it is in the queue", Args: args(cobra.ExactArgs(1)),
		Long: `Tell how the trials of what runner submit submitted stand, by the ledger in the shared folder, and what of it is in Slurm's queue. EXPERIMENT is
a name, of which the newest bundle is meant, or the folder of a bundle.

Exit codes: 0, 1 when a trial failed for good, 2 for bad input.`,
		Example: "  runner status sweep\n  runner status sweep --json",
	}
	a.dbFlag(c)
	a.formatFlags(c, true)
	a.bundlesFlag(c, &bundles)
	lease := leaseFlag(c)
	c.RunE = func(c *cobra.Command, given []string) error {
		b, err := findBundle(a.bundlesDir(bundles), given[0])
		if err != nil {
			return err
		}
		expiry, err := leaseOf(*lease, b)
		if err != nil {
			return err
		}
		return a.status(c.Context(), b, expiry)
	}
	return c
}

func (a *app) cancelCommand() *cobra.Command {
	var bundles string
	c := &cobra.Command{
		Use: "cancel EXPERIMENT", Short: "take a sweep out of a cluster's queue", Args: args(cobra.ExactArgs(1)),
		Long: `Cancel what runner submit submitted, in the queue and on nodes. Trials that run write a checkpoint and are given back; runner submit goes on with
them. What is done stays, and runner merge BUNDLE joins it into the database.`,
		Example: "  runner cancel sweep",
	}
	a.dbFlag(c)
	a.formatFlags(c, false)
	a.bundlesFlag(c, &bundles)
	c.RunE = func(c *cobra.Command, given []string) error {
		b, err := findBundle(a.bundlesDir(bundles), given[0])
		if err != nil {
			return err
		}
		before, err := b.Submissions()
		if err != nil {
			return err
		}
		jobs, err := queueOf(c.Context(), b, before)
		if err != nil {
			return err
		}
		var ids []string
		for _, j := range jobs {
			if !slices.Contains(ids, j.Array()) {
				ids = append(ids, j.Array())
			}
		}
		if len(ids) > 0 {
			if err := slurm.Cancel(c.Context(), ids); err != nil {
				return err
			}
		}
		if a.asJSON {
			return report.Value(a.stdout, map[string]any{"experiment": b.Name(), "bundle": b.Dir, "cancelled": append([]string{}, ids...)})
		}
		if len(ids) == 0 {
			say(a.stdout, "%s: nothing of it is in the queue\n", b.Name())
			return nil
		}
		say(a.stdout, "%s: cancelled job %s\n", b.Name(), strings.Join(ids, ", "))
		say(a.stderr, "  %s merge %s joins what is done; submitting again goes on with the rest\n", program(), shellWord(b.Dir))
		return nil
	}
	return c
}

// findBundle opens the bundle that a folder is, or the newest of an experiment.
func findBundle(root, ref string) (*bundle.Bundle, error) {
	if bundle.IsBundle(ref) {
		return bundle.Open(ref)
	}
	entries, _ := os.ReadDir(root)
	type found struct {
		dir string
		at  time.Time
	}
	var all []found
	names := map[string]bool{}
	for _, e := range entries {
		dir := filepath.Join(root, e.Name())
		if !bundle.IsBundle(dir) {
			continue
		}
		name := e.Name()[:max(0, strings.LastIndexByte(e.Name(), '-'))]
		if names[name] = true; name != ref {
			continue
		}
		at := time.Time{}
		for _, sub := range []string{"jobs", ""} { // submitting changes the one, freezing the other
			if info, err := os.Stat(filepath.Join(dir, sub)); err == nil && info.ModTime().After(at) {
				at = info.ModTime()
			}
		}
		all = append(all, found{dir, at})
	}
	if len(all) == 0 {
		e := fault.New(fault.NotFound, "nothing was submitted of an experiment %q: there is no bundle of it in %s", ref, root).
			WithHint("runner submit SPEC --slurm makes one; --db or --bundles say where they are")
		var words []string
		for name := range names {
			words = append(words, name)
		}
		if near := fault.Nearest(ref, words); near != "" {
			e.WithHint("did you mean %s?", near)
		}
		return nil, e
	}
	return bundle.Open(slices.MaxFunc(all, func(a, b found) int { return a.at.Compare(b.at) }).dir)
}

// trialStatus is a trial as status prints it.
type trialStatus struct {
	Trial    string           `json:"trial"`
	Variant  string           `json:"variant"`
	Seed     uint64           `json:"seed"`
	Status   string           `json:"status"`
	Attempts int              `json:"attempts"`
	Run      string           `json:"run_id,omitempty"`
	Step     int              `json:"step"`
	Steps    int              `json:"steps"`
	Task     string           `json:"task,omitempty"`
	Host     string           `json:"host,omitempty"`
	Silent   float64          `json:"silent_s,omitempty"` // since the last sign of life of one that runs
	Value    *float64         `json:"value"`
	Message  string           `json:"message,omitempty"`
	History  []ledger.Attempt `json:"history"`
}

func (a *app) status(ctx context.Context, b *bundle.Bundle, lease time.Duration) error {
	before, err := b.Submissions()
	if err != nil {
		return err
	}
	round := 0
	for _, s := range before {
		round = s.Round
	}
	all, err := task.Survey(b, round, lease)
	if err != nil {
		return err
	}
	jobs, queueErr := queueOf(ctx, b, before)
	trials := make([]trialStatus, len(all))
	counts := map[string]int{}
	for i, l := range all {
		trials[i] = statusOf(l)
		counts[trials[i].Status]++
	}
	if a.asJSON {
		out := map[string]any{"experiment": b.Name(), "bundle": b.Dir, "metric": b.Metric(), "trials": trials, "counts": counts,
			"jobs": append([]slurm.Job{}, jobs...), "submissions": append([]bundle.Submission{}, before...)}
		if queueErr != nil {
			out["queue_error"] = queueErr.Error()
		}
		if err := report.Value(a.stdout, out); err != nil {
			return err
		}
	} else {
		if err := a.printStatus(b, trials, counts, jobs, queueErr); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(all, func(l task.Look) bool { return l.Status == string(ledger.Failed) && !l.Free }) {
		return alreadySaid{exitFailed}
	}
	return nil
}

// queueOf returns what is in Slurm's queue of a bundle. The error says where to ask when Kubernetes runs it.
func queueOf(ctx context.Context, b *bundle.Bundle, before []bundle.Submission) ([]slurm.Job, error) {
	if n := len(before); n > 0 && before[n-1].Engine == engineKubernetes {
		return nil, fault.New(fault.Unavailable, "Kubernetes runs it").
			WithHint("kubectl get jobs -l %[1]s tells of it; kubectl delete jobs -l %[1]s has tasks write checkpoints and end", kubernetes.Selector(b.Name()))
	}
	return slurm.Queue(ctx, slurm.Comment(b))
}

func statusOf(l task.Look) trialStatus {
	t := trialStatus{Trial: l.ID, Variant: l.Variant(), Seed: l.Seed, Status: l.Status, Attempts: len(l.State.Attempts), History: append([]ledger.Attempt{}, l.State.Attempts...)}
	end := l.State.Over()
	if last := l.State.Last(); last != nil {
		t.Task, t.Host = last.Owner.Task, last.Owner.Host
		if end == nil {
			end = last.End
		}
	}
	if end != nil {
		t.Run, t.Step, t.Steps, t.Value, t.Message = end.Run, end.Step, end.Steps, end.Value, cmp.Or(end.Message, end.Why)
	}
	if l.Status == task.Running {
		t.Run, t.Step, t.Steps, t.Silent = l.Progress.Run, l.Progress.Step, l.Progress.Steps, l.Age.Seconds()
		if l.Stale {
			t.Status, t.Message = string(ledger.Lost), "no sign of life: the next task takes it"
		}
	}
	if l.Reason != "" {
		t.Message = l.Reason + ": " + t.Message
	}
	return t
}

func (a *app) printStatus(b *bundle.Bundle, trials []trialStatus, counts map[string]int, jobs []slurm.Job, queueErr error) error {
	rows := make([][]any, len(trials))
	for i, t := range trials {
		step := ""
		if t.Steps > 0 {
			step = fmt.Sprintf("%d/%d", t.Step, t.Steps)
		}
		var value any
		if t.Value != nil {
			value = *t.Value
		}
		rows[i] = []any{t.Trial, t.Variant, t.Seed, t.Status, step, t.Attempts, strings.TrimPrefix(t.Task, "slurm:"), t.Host, value, t.Message}
	}
	if err := report.Rows(a.stdout, a.format(), []string{"trial", "variant", "seed", "status", "step", "attempts", "task", "host", b.Metric(), "message"}, rows); err != nil {
		return err
	}
	var parts []string
	for _, s := range []string{"done", "stopped", task.Running, task.Waiting, "interrupted", "lost", "failed"} {
		if counts[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[s], s))
		}
	}
	say(a.stderr, "%s: %d trials: %s\n", b.Name(), len(trials), strings.Join(parts, ", "))
	switch {
	case queueErr != nil:
		say(a.stderr, "  the queue is not known: %s\n", fault.Format(queueErr))
	case len(jobs) == 0 && counts["done"]+counts["stopped"] < len(trials):
		say(a.stderr, "  nothing of it is in the queue: %s submit goes on with what is left; logs are in %s\n", program(), slurm.LogsDir(b))
	case len(jobs) == 0:
		say(a.stderr, "  nothing of it is in the queue\n")
	default:
		states := map[string]int{}
		var order []string
		for _, j := range jobs {
			text := strings.ToLower(j.State)
			if j.Reason != "" {
				text += " (" + j.Reason + ")"
			}
			if states[text]++; states[text] == 1 {
				order = append(order, text)
			}
		}
		for i, text := range order {
			order[i] = fmt.Sprintf("%d %s", states[text], text)
		}
		say(a.stderr, "  in the queue: %s; job %s\n", strings.Join(order, ", "), jobs[0].Array())
	}
	return nil
}
