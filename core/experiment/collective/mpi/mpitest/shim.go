package mpitest

import (
	"fmt"
	"os/exec"
	"testing"
)

// Need skips a test where MPI is not installed.
func Need(t testing.TB) {
	t.Helper()
	for _, program := range []string{"mpirun", "mpicc"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("several ranks are not tested: no %s (apt-get install openmpi-bin libopenmpi-dev)", program)
		}
	}
}

// Build compiles the shim into file. folder is that of package mpi.
func Build(folder, file string) error {
	out, err := exec.Command("mpicc", "-O3", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", file, folder+"/shim/tandem-mpi.c").CombinedOutput()
	if err != nil {
		return fmt.Errorf("mpicc: %w\n%s", err, out)
	}
	return nil
}
