package mpi

import (
	"fmt"
	"strconv"
	"strings"
)

// Launch is what the environment says of how this process was started.
type Launch struct {
	Rank, Size int    // Size 0: not said
	By         string // the launcher, in words
	Plain      bool   // by srun without the help that MPI needs (--mpi=pmix)
}

// String returns what the launcher did: "rank 1 of 4 started by mpirun".
func (l Launch) String() string {
	of := ""
	if l.Size > 0 {
		of = fmt.Sprintf(" of %d", l.Size)
	}
	return fmt.Sprintf("rank %d%s started by %s", l.Rank, of, l.By)
}

// Detect tells whether this process was started as one of several ranks. env has elements of the form KEY=value (os.Environ).
// A launcher that starts one process starts no ranks.
func Detect(env []string) (Launch, bool) {
	vars := map[string]string{}
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		vars[name] = value
	}
	number := func(names ...string) (int, bool) {
		for _, name := range names {
			if n, err := strconv.Atoi(vars[name]); err == nil && n >= 0 {
				return n, true
			}
		}
		return 0, false
	}
	inStep := vars["SLURM_STEP_ID"] != ""
	tasks := 0
	if inStep {
		tasks, _ = number("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")
	}
	launch := Launch{}
	var ok bool
	if launch.Rank, ok = number("OMPI_COMM_WORLD_RANK"); ok {
		launch.Size, _ = number("OMPI_COMM_WORLD_SIZE")
		launch.By = "mpirun"
	} else if launch.Rank, ok = number("PMIX_RANK"); ok {
		launch.Size = tasks
		launch.By = "PMIx"
		if inStep {
			launch.By = "srun --mpi=pmix"
		}
	} else if launch.Rank, ok = number("PMI_RANK"); ok {
		launch.Size, _ = number("PMI_SIZE")
		launch.By = "mpiexec"
		if inStep {
			launch.By = "srun --mpi=pmi2"
		}
	} else if launch.Rank, ok = number("SLURM_PROCID"); ok && inStep {
		launch.Size, launch.By, launch.Plain = tasks, "srun", true
	} else {
		return Launch{}, false
	}
	if launch.Size == 1 || launch.Plain && launch.Size < 2 {
		return Launch{}, false
	}
	return launch, true
}
