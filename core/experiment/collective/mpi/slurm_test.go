package mpi

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"tandem/core/experiment/collective"
	"tandem/core/experiment/slurm/slurmtest"
)

// srun runs this program as tasks of a role.
func srun(t *testing.T, role string, options ...string) (string, error) {
	t.Helper()
	args := append(options, os.Args[0])
	ctx, end := context.WithTimeout(t.Context(), time.Minute)
	defer end()
	cmd := exec.CommandContext(ctx, "srun", args...)
	cmd.Env = append(os.Environ(), roleEnv+"="+role, LibraryEnv+"="+needMPI(t))
	cmd.WaitDelay = time.Second
	return output(cmd)
}

func TestSrunStartsRanks(t *testing.T) {
	needMPI(t)
	slurmtest.Start(t, 1)
	if out, err := exec.Command("srun", "--mpi=list").CombinedOutput(); err != nil || !strings.Contains(string(out), "pmix") {
		t.Skipf("srun is not tested: it has no pmix: %s", out)
	}
	out, err := srun(t, "differ", "--mpi=pmix", "-N", "1", "-n", "2")
	if err != nil || strings.Count(out, "done") != 2 {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = srun(t, "open", "--mpi=none", "-n", "2")
	if err == nil || strings.Count(out, "of 2 started by srun: ") != 2 || !strings.Contains(out, "srun --mpi=pmix") {
		t.Errorf("%v\n%s", err, out)
	}
	for _, with := range []string{"none", "pmix"} {
		if out, err = srun(t, "alone", "--mpi="+with, "-n", "1"); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
	out, err = srun(t, "killed", "--mpi=pmix", "-N", "1", "-n", "2", "--kill-on-bad-exit=1")
	if err == nil || !strings.Contains(out, "rank 1 on "+collective.Host()+" is gone: its process ended") {
		t.Errorf("%v\n%s", err, out)
	}
	for _, pid := range pids(out) {
		if !endsSoon(pid) {
			t.Errorf("process %d still runs", pid)
		}
	}
}
