package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"tandem/core/experiment/bundle"
	"tandem/core/experiment/ledger"
	"tandem/core/experiment/task"
)

// clusterSweep describes twelve trials of a second or two each.
var clusterSweep = strings.NewReplacer("device: host\n", "device: host\nthreads: 1\n", "max_steps: 24", "max_steps: 100", "checkpoint_every: 8", "checkpoint_every: 25").Replace(tiny) + `ablate:
  design: one-at-a-time
  metric: eval/emoji/top1
  baseline: {rate: 0.001}
  seeds: [0, 1, 2]
  factors: {rate: {key: train.lr, choices: [0.0005, 0.001, 0.002, 0.004]}}
`

// sweepViews are questions whose answers may not depend on where trials ran.
var sweepViews = []string{
	"SELECT experiment, variant, seed, status, done, planned, levels, position, identity, phase FROM v_cells ORDER BY position, variant, seed",
	"SELECT variant, seed, metric, value FROM v_cell_metrics WHERE metric NOT IN ('train/data_wait_ms', 'train/samples_per_s') ORDER BY 1, 2, 3",
	"SELECT variant, metric, n, mean, std FROM v_seed_stats WHERE metric NOT IN ('train/data_wait_ms', 'train/samples_per_s') ORDER BY 1, 2",
	"SELECT count(*), sum(status = 'done'), count(DISTINCT identity) FROM v_runs",
	"SELECT r.variant, r.seed, m.step, m.value FROM v_metrics m JOIN v_runs r USING (run_id) WHERE m.metric = 'train/loss' ORDER BY 1, 2, 3",
}

// sameViews compares the merged results with those of a sweep on one machine.
func sameViews(t *testing.T, cluster, local string) {
	t.Helper()
	for _, query := range sweepViews {
		got, want := must(t, cluster, "query", "--csv", query), must(t, local, "query", "--csv", query)
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", query, got, want)
		}
		if strings.Count(want, "\n") < 2 {
			t.Errorf("%s\nasks for nothing: %s", query, want)
		}
	}
}

// timedOut reports whether an attempt has ended since its time was nearly over.
func timedOut(s clusterState) bool {
	for _, trial := range s.Trials {
		for _, a := range trial.History {
			if a.End != nil && a.End.Why == "time-out" {
				return true
			}
		}
	}
	return false
}

// TestASweepOnSlurm makes twelve trials on two nodes, starts tasks again by force ten times, has two end by Slurm's warning that their time is
// over, and kills a node under the others.
func TestASweepOnSlurm(t *testing.T) {
	c := startCluster(t)
	local := t.TempDir()
	write(t, c.dir, "sweep.yaml", clusterSweep)
	write(t, local, "sweep.yaml", clusterSweep)
	if r := try(t, c.dir, "submit", "sweep.yaml", "--slurm", "--partition", "nope"); r.code != 2 || !strings.Contains(r.stderr, "invalid partition specified: nope") || !strings.Contains(r.stderr, "sinfo -s") {
		t.Errorf("an unknown partition: code %d, %s", r.code, r.stderr)
	}
	var both [2]string
	var submits sync.WaitGroup
	for i := range both {
		submits.Go(func() {
			both[i] = try(t, c.dir, "submit", "sweep.yaml", "--slurm", "--lease", "10s", "--cpus", "1", "--sbatch", "--mem=100").stdout
		})
	}
	submits.Wait()
	if out := both[0] + both[1]; strings.Count(out, "12 trials in an array of 12 tasks") != 1 || strings.Count(out, "nothing was submitted") != 1 {
		t.Fatalf("two that submit say %s", out)
	}
	if out := must(t, c.dir, "submit", "sweep.yaml", "--slurm"); !strings.Contains(out, "is in the queue; nothing was submitted") {
		t.Errorf("submitting again says %s", out)
	}
	waitFor(t, func() bool { return c.status("sweep").Counts["running"] > 1 })
	if out := must(t, c.dir, "cancel", "sweep"); !strings.Contains(out, "cancelled job 1, ") {
		t.Errorf("cancel says %s", out)
	}
	waitFor(t, func() bool { return len(c.status("sweep").Jobs) == 0 })
	cancelled := c.status("sweep").Counts
	if cancelled["interrupted"] == 0 || cancelled["running"] > 0 {
		t.Errorf("after cancel the trials are %v", cancelled)
	}
	left := 12 - cancelled["done"]
	again := fmt.Sprintf("%d trials in an array of %d tasks, job ", left, left)
	if out := must(t, c.dir, "submit", "sweep.yaml", "--slurm", "--lease", "10s", "--cpus", "1", "--sbatch", "--mem=100"); !strings.Contains(out, again) {
		t.Errorf("submitting what was cancelled says %s", out)
	}
	warned, requeued, killed := 0, 0, false
	told := map[string]int{} // the attempt at which a task was told, by trial
	waitFor(t, func() bool {
		s := c.status("sweep", "--lease", "10s")
		completing := slices.ContainsFunc(s.Jobs, func(j clusterJob) bool { return j.State == "COMPLETING" })
		for _, trial := range s.Trials {
			task := strings.TrimPrefix(trial.Task, "slurm:")
			at := slices.IndexFunc(s.Jobs, func(j clusterJob) bool { return j.Job == task && j.State == "RUNNING" })
			if trial.Status != "running" || told[trial.Trial] == trial.Attempts || at < 0 {
				continue
			}
			switch {
			case requeued < 10:
				if exec.Command("scontrol", "requeue", task).Run() == nil {
					told[trial.Trial] = trial.Attempts
					requeued++
				}
			case (warned < 2 || !timedOut(s)) && trial.Step > 0: // it listens; it may end before it hears
				if exec.Command("scancel", "--signal=USR2", "--batch", task).Run() == nil {
					told[trial.Trial] = trial.Attempts
					warned++
				}
			case warned >= 2 && !killed && !completing && s.Jobs[at].Node == "n2": // Slurm would wait long for a job that was ending
				c.KillNode("n2")
				c.StartNode("n2")
				killed = true
			}
		}
		return len(s.Jobs) == 0
	})
	s := c.status("sweep")
	if requeued < 10 || warned < 2 || !killed || s.Counts["done"] != 12 {
		t.Fatalf("%d started again, %d warned, a node killed: %v, %v", requeued, warned, killed, s.Counts)
	}
	attempts := map[string]int{}
	for _, trial := range s.Trials {
		done := 0
		for _, a := range trial.History {
			attempts[a.End.Status+" "+a.End.Why]++
			if a.End.Status == "done" {
				done++
			}
		}
		if done != 1 {
			t.Errorf("trial %s came to its end %d times: %+v", trial.Trial, done, trial.History)
		}
	}
	t.Logf("%d tasks started again by force; attempts ended so: %v", requeued, attempts)
	if attempts["lost "] == 0 || attempts["interrupted terminated"] == 0 || attempts["interrupted time-out"] == 0 {
		t.Errorf("attempts ended so: %v", attempts)
	}

	must(t, local, "run", "sweep.yaml", "--jobs", "2")
	sameViews(t, c.dir, local)
	before := must(t, c.dir, "query", "--csv", "SELECT key, status, heartbeat_ms FROM run ORDER BY 1")
	if out := must(t, c.dir, "submit", "sweep.yaml", "--slurm"); !strings.Contains(out, "all 12 trials are done; nothing was submitted") {
		t.Errorf("submitting again when all is done says %s", out)
	}
	if out := must(t, c.dir, "merge", s.Bundle); !strings.Contains(out, "0 runs added, 0 updated, 12 unchanged") {
		t.Errorf("merging again says %s", out)
	}
	if after := must(t, c.dir, "query", "--csv", "SELECT key, status, heartbeat_ms FROM run ORDER BY 1"); after != before {
		t.Errorf("the runs are others now:\n%s\nbefore\n%s", after, before)
	}
}

func TestSubmitSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "sweep.yaml", clusterSweep)
	empty := t.TempDir()
	cmd := command(t, dir, "submit", "sweep.yaml", "--slurm")
	cmd.Env = append(cmd.Env, "PATH="+empty)
	if r := finish(t, cmd); r.code != 1 || !strings.Contains(r.stderr, "there is no sbatch on this machine") {
		t.Errorf("without Slurm: code %d, %s", r.code, r.stderr)
	}
	if r := try(t, dir, "submit", "sweep.yaml"); r.code != 2 || !strings.Contains(r.stderr, "--slurm") {
		t.Errorf("without an engine: code %d, %s", r.code, r.stderr)
	}
	if r := try(t, dir, "submit", "sweep.yaml", "--slurm", "--dry-run", "--sbatch=--array=1-3"); r.code != 2 || !strings.Contains(r.stderr, "--tasks") {
		t.Errorf("an array of one's own: code %d, %s", r.code, r.stderr)
	}
	if r := try(t, dir, "status", "sweep"); r.code != 2 || !strings.Contains(r.stderr, "nothing was submitted") {
		t.Errorf("status of nothing: code %d, %s", r.code, r.stderr)
	}
	script := must(t, dir, "submit", "sweep.yaml", "--slurm", "--dry-run", "--partition", "gpu", "--array-limit", "3", "--tasks", "5", "--time", "1-00:00:00", "--sbatch=--exclusive")
	for _, line := range []string{"#SBATCH --array=0-4%3\n", "#SBATCH --partition=gpu\n", "#SBATCH --exclusive\n", "#SBATCH --signal=B:USR2@120\n", "#SBATCH --dependency=afterany:JOB\n", " --tasks 5 "} {
		if !strings.Contains(script, line) {
			t.Errorf("the script lacks %q:\n%s", line, script)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "results")); err == nil {
		t.Error("a dry run wrote results")
	}
	check := exec.Command("bash", "-n")
	check.Stdin = strings.NewReader(script)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("bash: %s", out)
	}
	var said struct{ Trials, Tasks, Done int }
	if err := json.Unmarshal([]byte(must(t, dir, "submit", "sweep.yaml", "--slurm", "--dry-run", "--json")), &said); err != nil || fmt.Sprint(said) != "{12 12 0}" {
		t.Errorf("%+v, %v", said, err)
	}
}

// Of two that submit at the same time, one starts tasks, and the other says so.
func TestOneOfTwoSubmits(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "sweep.yaml", clusterSweep)
	submit := []string{"submit", "sweep.yaml", "--kubernetes", "--image", "x", "--claim", "c", "-o"}
	must(t, dir, append(submit, "first.yaml")...)
	b, err := bundle.Open((&cluster{t: t, dir: dir}).status("sweep").Bundle)
	if err != nil {
		t.Fatal(err)
	}
	done, err := task.Submitting(t.Context(), b, ledger.Owner{Host: "other", PID: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	said, err := os.Create(filepath.Join(dir, "said"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	second := command(t, dir, append(submit, "second.yaml")...)
	second.Stdout, second.Stderr = said, said
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	says := func(words string) bool {
		text, _ := os.ReadFile(said.Name())
		return strings.Contains(string(text), words)
	}
	waitFor(t, func() bool { return says("process 1 on other submits just now") })
	if _, err := b.Submit(bundle.Submission{Round: 2, Tasks: 1}, func(*bundle.Submission) error { return nil }); err != nil {
		t.Fatal(err)
	}
	done()
	if err := second.Wait(); err != nil || !says("another process has submitted it just now; nothing was submitted") {
		t.Errorf("the second one ended with %v", err)
	}
	if all, err := b.Submissions(); err != nil || len(all) != 2 || exists(filepath.Join(dir, "second.yaml")) {
		t.Errorf("submissions %+v, %v", all, err)
	}
}

// TestATaskWhoseTimeIsOverGoesOn has Slurm's own time limit of a minute end tasks of a trial that takes longer.
func TestATaskWhoseTimeIsOverGoesOn(t *testing.T) {
	if os.Getenv("TANDEM_LONG") == "" {
		t.Skip("takes minutes, since no time limit of Slurm is below one: make test-long")
	}
	c := startCluster(t)
	one := strings.NewReplacer("device: host\n", "device: host\nthreads: 1\n", "max_steps: 24", "max_steps: 5000", "checkpoint_every: 8", "checkpoint_every: 4000").Replace(tiny)
	write(t, c.dir, "long.yaml", one)
	must(t, c.dir, "submit", "long.yaml", "--slurm", "--time", "1", "--lead", "20s")
	waitFor(t, func() bool { return len(c.status("long").Jobs) == 0 })
	s := c.status("long")
	overdue := 0
	for _, a := range s.Trials[0].History {
		if a.End != nil && a.End.Why == "time-out" {
			overdue++
		}
	}
	if s.Counts["done"] != 1 || overdue == 0 {
		t.Errorf("%+v", s.Trials)
	}
	local := t.TempDir()
	write(t, local, "long.yaml", one)
	must(t, local, "run", "long.yaml")
	for _, query := range []string{"SELECT variant, seed, status FROM v_runs", "SELECT metric, last, n FROM v_final WHERE metric NOT IN ('train/data_wait_ms', 'train/samples_per_s') ORDER BY 1"} {
		if got, want := must(t, c.dir, "query", "--csv", query), must(t, local, "query", "--csv", query); got != want {
			t.Errorf("%s\n got %s\nwant %s", query, got, want)
		}
	}
}
