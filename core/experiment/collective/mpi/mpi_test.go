package mpi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tandem/core/experiment/collective"
	"tandem/core/experiment/collective/mpi/mpitest"
	"tandem/core/fault"
)

// roleEnv has this program be a rank of a test that another one started with mpirun.
const roleEnv = "TANDEM_TEST_MPI_ROLE"

// roles are what ranks do; an error is said on stdout.
var roles = map[string]func(context.Context) error{
	"equal":  equalsLocal,
	"large":  equalsLocal,
	"differ": makesDifferentCalls,
	"killed": losesRankOne,
	"aborts": losesRankOne,
	"frozen": waitsForAStoppedRank,
	"stiff":  waitsForAStoppedRank,
	"steps":  losesRankOne,
	"alone":  isAlone,
	"open":   opens,
	"bench":  bench,
	"memory": sumsInMemory,
	"slain":  isSlain,
	"apart":  isApart,
}

func TestMain(m *testing.M) {
	role, ok := roles[os.Getenv(roleEnv)]
	if !ok {
		code := m.Run()
		if scratch != "" {
			os.RemoveAll(scratch)
		}
		os.Exit(code)
	}
	signal.Ignore(syscall.SIGTERM) // of mpirun, when another rank is gone: there is something left to say
	if err := role(context.Background()); err != nil {
		fmt.Println("failed:", fault.Format(err))
		os.Exit(1)
	}
	fmt.Println("done")
}

// scratch is a folder for the shim and what MPI leaves behind where it is killed; "" until it is needed. MPI has sockets in it,
// whose paths must be short.
var scratch string

// shim builds the shim once for all tests and returns its file.
var shim = sync.OnceValues(func() (string, error) {
	var err error
	if scratch, err = os.MkdirTemp("", "tandem-mpi"); err != nil {
		return "", err
	}
	file := filepath.Join(scratch, library)
	return file, mpitest.Build(".", file)
})

// needMPI skips a test where MPI is not there, and returns the shim.
func needMPI(t testing.TB) string {
	t.Helper()
	mpitest.Need(t)
	file, err := shim()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// ranks returns the command that runs this program as n ranks of a role.
func ranks(t testing.TB, n int, role string, options ...string) *exec.Cmd {
	t.Helper()
	file := needMPI(t)
	args := append(append([]string{"--oversubscribe", "-n", fmt.Sprint(n)}, options...), "-x", roleEnv, "-x", LibraryEnv, os.Args[0])
	ctx, end := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(end)
	cmd := exec.CommandContext(ctx, "mpirun", args...)
	cmd.Env = append(os.Environ(), roleEnv+"="+role, LibraryEnv+"="+file, "OMPI_MCA_orte_tmpdir_base="+scratch, "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")
	cmd.WaitDelay = time.Second
	return cmd
}

// output runs a command of ranks and returns what they and mpirun said.
func output(cmd *exec.Cmd) (string, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

func TestRanksExchangeWhatLocalOnesDo(t *testing.T) {
	for _, c := range []struct {
		n    int
		role string
	}{{2, "large"}, {4, "equal"}} {
		out, err := output(ranks(t, c.n, c.role))
		if err != nil || strings.Count(out, "done") != c.n {
			t.Errorf("%d ranks, %s: %v\n%s", c.n, c.role, err, out)
		}
	}
}

func TestDifferentCallsAreAnErrorOfAllRanks(t *testing.T) {
	out, err := output(ranks(t, 2, "differ"))
	if err != nil || strings.Count(out, "done") != 2 {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestTheOthersSayWhichRankIsGone(t *testing.T) {
	for role, want := range map[string]string{"killed": "rank 1 on " + collective.Host() + " is gone: its process ended", "aborts": "rank 1 on " + collective.Host() + " is gone: its encoder died"} {
		start := time.Now()
		out, err := output(ranks(t, 3, role))
		if err == nil || strings.Count(out, want) != 2 {
			t.Errorf("%s: want twice %q: %v\n%s", role, want, err, out)
		}
		if time.Since(start) > 30*time.Second { // a hang, not a measurement
			t.Errorf("%s took %v", role, time.Since(start))
		}
		for _, pid := range pids(out) {
			if !endsSoon(pid) {
				t.Errorf("%s: process %d still runs", role, pid)
			}
		}
	}
}

// endsSoon waits until a process has ended. One that nobody has waited for yet has.
func endsSoon(pid int) bool {
	for range 1000 {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if syscall.Kill(pid, 0) != nil || err == nil && bytes.Contains(status, []byte("State:\tZ")) {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

// pids returns the processes that say "process N".
func pids(out string) (all []int) {
	for _, text := range strings.Split(out, "\n") {
		var pid int
		if n, _ := fmt.Sscanf(text, "process %d", &pid); n == 1 {
			all = append(all, pid)
		}
	}
	return all
}

func TestAStoppedRankIsWaitedFor(t *testing.T) {
	out, err := output(ranks(t, 2, "frozen"))
	if err != nil || strings.Count(out, "done") != 2 {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestARankThatStaysStoppedIsGone(t *testing.T) {
	out, err := output(ranks(t, 2, "stiff"))
	if err == nil || !strings.Contains(out, "it is stopped") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestRanksWithoutMPISayWhatToDo(t *testing.T) {
	t.Run("no shim", func(t *testing.T) {
		cmd := ranks(t, 2, "open")
		cmd.Env = append(cmd.Env, LibraryEnv+"=/nowhere/"+library)
		out, err := output(cmd)
		if err == nil || !strings.Contains(out, "of 2 started by mpirun: /nowhere/"+library) || !strings.Contains(out, "make mpi") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	for _, c := range []struct {
		name string
		env  map[string]string
		want []string
	}{
		{"no MPI library", map[string]string{"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, []string{"rank 1 of 2 started by mpirun", "make mpi"}},
		{"plain srun", map[string]string{"SLURM_PROCID": "3", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4"}, []string{"rank 3 of 4 started by srun", "srun --mpi=pmix"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			_, err := Open(t.Context())
			for _, want := range c.want {
				if err == nil || !strings.Contains(fault.Format(err), want) {
					t.Errorf("%v, want %q", err, want)
				}
			}
		})
	}
}

func TestOneProcessIsAGroupOfItsOwn(t *testing.T) {
	if g, err := Open(t.Context()); err != nil || g != (collective.Single{}) {
		t.Errorf("%v, %v", g, err)
	}
}

func TestLaunchersAreKnownByTheEnvironment(t *testing.T) {
	for env, want := range map[string]Launch{
		"OMPI_COMM_WORLD_RANK=2 OMPI_COMM_WORLD_SIZE=4 PMIX_RANK=2 SLURM_PROCID=0":         {2, 4, "mpirun", false},
		"PMIX_RANK=1 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=1 SLURM_NTASKS=8": {1, 2, "srun --mpi=pmix", false},
		"PMIX_RANK=1":           {1, 0, "PMIx", false},
		"PMI_RANK=1 PMI_SIZE=3": {1, 3, "mpiexec", false},
		"SLURM_PROCID=1 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=2": {1, 2, "srun", true},
		"SLURM_PROCID=0 SLURM_NTASKS=4":                         {}, // a batch script
		"SLURM_PROCID=0 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=1": {},
		"OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=1":         {},
		"PMIX_RANK=0 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=1":    {},
		"HOME=/root": {},
	} {
		got, ok := Detect(strings.Fields(env))
		if got != want || ok != (want != Launch{}) {
			t.Errorf("%s is %+v, %v, want %+v", env, got, ok, want)
		}
	}
}

// opens says what is wrong.
func opens(ctx context.Context) error {
	g, err := Open(ctx)
	if err == nil {
		err = g.Close()
	}
	return err
}

// isAlone is a task of srun that is no rank.
func isAlone(ctx context.Context) error {
	if g, err := Open(ctx); err != nil || g.Size() != 1 {
		return fmt.Errorf("group %v, error %w", g, err)
	}
	return nil
}

// makesDifferentCalls is a rank that does not do what the other does.
func makesDifferentCalls(ctx context.Context) error {
	g, err := Open(ctx)
	if err != nil {
		return err
	}
	var errs []string
	if g.Rank() == 0 {
		err = g.Barrier(ctx)
	} else {
		_, err = g.Gather(ctx, nil)
	}
	errs = append(errs, fmt.Sprint(err))
	_, err = g.Sum(ctx, make([]float32, 1+g.Rank()))
	errs = append(errs, fmt.Sprint(err))
	want := []string{"rank 0 waits for all in its call 3, rank 1 gathers bytes in its call 3", "rank 0 adds up values of 4 bytes, rank 1 of 8"}
	if !slices.Equal(errs, want) {
		return fmt.Errorf("errors %q, want %q", errs, want)
	}
	return errors.Join(g.Barrier(ctx), g.Close()) // it goes on
}

// losesRankOne is a rank of a group of which one ends in the midst of sums.
func losesRankOne(ctx context.Context) error {
	g, err := Open(ctx)
	if err != nil {
		return err
	}
	fmt.Println("process", os.Getpid())
	values := make([]float32, 1<<20)
	for i := 0; ; i++ {
		if g.Rank() == 1 && i == 20 {
			switch os.Getenv(roleEnv) {
			case "aborts":
				g.Abort(errors.New("its encoder died"))
				os.Exit(3)
			case "killed":
				return syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
		}
		if _, err := g.Sum(ctx, values); err != nil {
			<-g.Lost()
			if fault.KindOf(err) != fault.Unavailable || err != g.Cause() || g.Barrier(ctx) != err {
				return fmt.Errorf("error %v, cause %w", err, g.Cause())
			}
			return err
		}
	}
}

// waitsForAStoppedRank is a rank of a group of which one is stopped: for longer than a machine may be deaf, or (stiff) for good.
func waitsForAStoppedRank(ctx context.Context) error {
	beat, deaf = 20*time.Millisecond, 300*time.Millisecond
	g, err := Open(ctx)
	if err != nil {
		return err
	}
	if g.Rank() == 1 {
		wake := "sleep 0.8; kill -CONT "
		if os.Getenv(roleEnv) == "stiff" {
			wake = "sleep 30; kill -KILL "
		}
		if err := exec.Command("sh", "-c", wake+fmt.Sprint(os.Getpid())).Start(); err != nil {
			return err
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
			return err
		}
	}
	if err := g.Barrier(ctx); err != nil {
		return err
	}
	return g.Close()
}
