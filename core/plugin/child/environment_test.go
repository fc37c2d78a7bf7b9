package child

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// A plugin that uses MPI or Slurm itself must not take itself for the rank that its runner is.
func TestProgramsSeeNothingOfMPIAndSlurm(t *testing.T) {
	env, err := exec.LookPath("env")
	if err != nil {
		t.Skip("no program env")
	}
	for _, name := range []string{"OMPI_COMM_WORLD_RANK", "OMPI_MCA_btl", "PMIX_RANK", "PMIX_SERVER_URI2", "PMI_RANK", "PMI_FD", "PRTE_LAUNCHED", "SLURM_PROCID", "SLURM_STEP_ID", "SLURM_JOB_ID"} {
		t.Setenv(name, "1")
	}
	t.Setenv("TANDEM_CACHE", "seen")
	var out bytes.Buffer
	if err := Run(t.Context(), &out, &out, env); err != nil {
		t.Fatal(err)
	}
	for _, kv := range strings.Fields(out.String()) {
		for _, of := range []string{"OMPI_", "PMIX_", "PMI_", "PRTE_", "SLURM_"} {
			if strings.HasPrefix(kv, of) {
				t.Errorf("a plugin sees %s", kv)
			}
		}
	}
	if !strings.Contains(out.String(), "TANDEM_CACHE=seen") {
		t.Errorf("the environment is %s", out.String())
	}
}
