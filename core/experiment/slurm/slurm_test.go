package slurm

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tandem/core/experiment/bundle"
	"tandem/core/experiment/lab/labtest"
	"tandem/core/experiment/schedule"
	"tandem/core/fault"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// frozen returns a bundle that was not written, in a folder whose name needs quotes.
func frozen(t *testing.T) *bundle.Bundle {
	t.Helper()
	l := labtest.New(t)
	program := filepath.Join(filepath.Dir(l.DB), "runner")
	labtest.Must(t, os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755))
	s, err := schedule.Load(l, labtest.File(t, l, labtest.Text), nil)
	labtest.Must(t, err)
	b, err := bundle.Freeze(l, s, bundle.Options{Root: filepath.Join(t.TempDir(), "it's 100% mine"), Runner: program, DryRun: true})
	labtest.Must(t, err)
	return b
}

func TestScriptsHoldUpToNamesThatNeedQuotes(t *testing.T) {
	b := frozen(t)
	o := Options{Round: 2, Tasks: 7, AtOnce: 3, DB: "/x/my $results.db", Lead: 90 * time.Second, Lease: 10 * time.Minute,
		Directives: []Directive{{"partition", "gpu"}, {"constraint", "a100|h100"}, {"gpus", "1"}}, Raw: []string{"--exclusive"}}
	array, merge := Script(b, o), MergeScript(b, o, "12")
	for text, lines := range map[string][]string{
		array: {"#SBATCH --array=0-6%3\n", "#SBATCH --partition=gpu\n", "#SBATCH --constraint=a100|h100\n", "#SBATCH --exclusive\n", "#SBATCH --signal=B:USR2@90\n",
			"100%% mine", " --round 2 --tasks 7 --lead 1m30s --lease 10m0s\n"},
		merge: {"#SBATCH --dependency=afterany:12\n", "#SBATCH --partition=gpu\n", " --wait --db '/x/my $results.db' --lease 10m0s\n"},
	} {
		for _, line := range lines {
			if !strings.Contains(text, line) {
				t.Errorf("the script lacks %q:\n%s", line, text)
			}
		}
		check := exec.Command("bash")
		check.Stdin = strings.NewReader(text) // there is no such folder here, and the script says so
		out, err := check.CombinedOutput()
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 2 || !strings.Contains(string(out), "does not see "+b.Runner()) && !strings.Contains(string(out), "it's 100% mine") {
			t.Errorf("%v: %s", err, out)
		}
	}
	if strings.Contains(merge, "gpus") || strings.Contains(merge, "exclusive") {
		t.Errorf("the merge asks for what trials need:\n%s", merge)
	}
}

func TestOptionsThatWouldBreakTheArrayAreRefused(t *testing.T) {
	good := Options{Tasks: 1, Raw: []string{"--exclusive", "-w n1"}}
	labtest.Must(t, good.Check())
	for name, o := range map[string]Options{
		"no tasks": {}, "an array": {Tasks: 1, Raw: []string{"--array=1"}}, "an array, in short": {Tasks: 1, Raw: []string{"-a 1"}},
		"no option": {Tasks: 1, Raw: []string{"exclusive"}}, "two lines": {Tasks: 1, Raw: []string{"--x\nrm"}},
		"a value of two lines": {Tasks: 1, Directives: []Directive{{"partition", "a\nb"}}}, "parts of a second": {Tasks: 1, Lead: 1500 * time.Millisecond},
	} {
		if err := o.Check(); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSlurmsWordsAreTold(t *testing.T) {
	err := explain("sbatch", "sbatch: error: invalid partition specified: nope\nsbatch: error: Batch job submission failed: Invalid partition name specified")
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "invalid partition specified: nope") || !strings.Contains(fault.Format(err), "sinfo -s") {
		t.Errorf("an unknown partition: %s", fault.Format(err))
	}
	if err := explain("squeue", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("no controller: %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if err := Available(); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("without Slurm: %v", err)
	}
}

func TestTheEndOfATaskIsWhatSlurmSays(t *testing.T) {
	t.Setenv("SLURM_ARRAY_JOB_ID", "12")
	t.Setenv("SLURM_ARRAY_TASK_ID", "3")
	t.Setenv("SLURM_RESTART_COUNT", "2")
	task, ok := ThisTask()
	if !ok || task.ID() != "12_3" || task.Restart != 2 {
		t.Fatalf("%+v", task)
	}
	t.Setenv("SLURM_JOB_END_TIME", "1700000000")
	if end, err := task.End(context.Background()); err != nil || end.Unix() != 1700000000 {
		t.Errorf("%v, %v", end, err)
	}
	limited := "JobId=15 ArrayJobId=12 RunTime=00:00:01 TimeLimit=01:00:00 StartTime=2026-01-02T03:04:05 EndTime=2026-01-02T04:04:05 x=y"
	if end, err := endOf(limited); err != nil || !end.Equal(time.Date(2026, 1, 2, 4, 4, 5, 0, time.Local)) {
		t.Errorf("%v, %v", end, err)
	}
	if end, err := endOf("JobId=15 TimeLimit=UNLIMITED StartTime=2026-01-02T03:04:05 EndTime=2027-01-02T04:04:05"); err != nil || !end.IsZero() {
		t.Errorf("no limit: %v, %v", end, err)
	}
	t.Setenv("SLURM_ARRAY_TASK_ID", "")
	if _, ok := ThisTask(); ok {
		t.Error("no task is one")
	}
}
