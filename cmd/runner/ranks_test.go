package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tandem/core/experiment/collective"
	"tandem/core/experiment/collective/mpi/mpitest"
	"tandem/core/results/store"
)

// shim builds what the runner opens when it is one of several ranks, once, beside it.
var shim = sync.OnceValue(func() error {
	return mpitest.Build("../../core/experiment/collective/mpi", filepath.Join(filepath.Dir(runner), "libtandem-mpi.so"))
})

// mpirun prepares ranks of the runner in dir, each with the arguments.
func mpirun(t *testing.T, dir string, n int, args ...string) *exec.Cmd {
	t.Helper()
	return mpirunWith(t, dir, append([]string{"-n", fmt.Sprint(n), runner}, args...)...)
}

func mpirunWith(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	mpitest.Need(t)
	if err := shim(); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, dir)
	cmd.Path, _ = exec.LookPath("mpirun")
	cmd.Args = append([]string{"mpirun", "--oversubscribe", "--bind-to", "none"}, args...)
	cmd.Env = append(cmd.Env, "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")
	return cmd
}

// shown is what runner show says of a run.
type shown struct {
	ID, Status, Taint string
	Facts             map[string]any
	Metrics           map[string]struct{ Last float64 }
	Checkpoints       []struct{ Step int }
	Error             *struct{ Message string }
	Events            []struct{ Kind, Message string }
}

func show(t *testing.T, dir, id string) (s shown) {
	t.Helper()
	if err := json.Unmarshal([]byte(must(t, dir, "show", id, "--json")), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// stepLosses returns the recorded losses of a run, by step.
func stepLosses(t *testing.T, dir, id string) (values []float64) {
	t.Helper()
	r, err := store.OpenReader(filepath.Join(dir, "results/results.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	points, err := r.Curve(t.Context(), id, "train/loss")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range points {
		values = append(values, float64(p.Value))
	}
	return values
}

func close6(a, b float64) bool { return math.Abs(a-b) <= 1e-6*max(1, math.Abs(a)) }

// Two ranks make the run that one rank makes in two micro-batches, and say what they gave each other.
func TestTwoRanksMakeTheRunOfOne(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny)
	r := finish(t, mpirun(t, dir, 2, "run", "tiny.yaml", "-q"))
	if r.code != 0 {
		t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	id := strings.TrimSpace(r.stdout)
	alone := strings.TrimSpace(must(t, dir, "run", "tiny.yaml", "-q", "--set", "train.micro_batch_size=8"))
	got, want := stepLosses(t, dir, id), stepLosses(t, dir, alone)
	if len(want) != 24 || !slices.EqualFunc(got, want, close6) {
		t.Errorf("losses %v, of one rank %v", got, want)
	}
	two, one := show(t, dir, id), show(t, dir, alone)
	for name, m := range one.Metrics {
		// A loss that differs in its last bits may let a sample change places with another.
		if strings.HasPrefix(name, "eval/") && math.Abs(two.Metrics[name].Last-m.Last) > .026 {
			t.Errorf("%s is %g, of one rank %g", name, two.Metrics[name].Last, m.Last)
		}
	}
	trained := int64(two.Facts["parameters.image.trained"].(float64) + two.Facts["parameters.text.trained"].(float64))
	bytes := collective.BytesPerStep(collective.Traffic{Ranks: 2, Batch: 16, Dim: 16, Embeddings: 2, Parameters: trained})
	sent := int64(two.Facts["ranks.bytes_per_step"].(float64))
	if over := sent - bytes.Total()/2; over < 0 || over > 4096 { // few bytes compare losses and norms
		t.Errorf("rank 0 gave %d bytes in a step, by the formula %d", sent, bytes.Total()/2)
	}
	if two.Facts["ranks.n"] != 2.0 || one.Facts["ranks.n"] != nil || two.Facts["ranks.hosts"] != collective.Host()+" (2 ranks)" {
		t.Errorf("facts %v", two.Facts)
	}
}

// The trials of a sweep are made by all ranks, one after another; what one rank lacks fails the run with its rank and host; and other
// commands are those of rank 0.
func TestRanksMakeASweep(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "sweep.yaml", strings.Replace(tiny, "max_steps: 24", "max_steps: 4", 1)+"ablate: {design: grid, factors: {lr: {base: {}, high: {train.lr: 0.01}}}, baseline: {lr: base}, seeds: [0]}\n")
	r := finish(t, mpirun(t, dir, 2, "run", "sweep.yaml", "--no-progress"))
	if r.code != 0 || !strings.Contains(r.stderr, "2 ranks: "+collective.Host()+" (2 ranks)") || strings.Contains(r.stderr, "rank 1: ") {
		t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	r = finish(t, mpirun(t, dir, 2, "list", "--json"))
	var runs []struct{ Status string }
	if err := json.Unmarshal([]byte(r.stdout), &runs); err != nil || len(runs) != 2 || runs[0].Status != "done" {
		t.Fatalf("exit code %d: %v\n%s%s", r.code, err, r.stdout, r.stderr)
	}
	r = finish(t, mpirun(t, dir, 2, "run", "sweep.yaml", "--jobs", "2"))
	if r.code != 2 || strings.Count(r.stderr, "one trial at a time") != 1 {
		t.Errorf("--jobs 2: exit code %d\n%s", r.code, r.stderr)
	}
	other := filepath.Join(t.TempDir(), "clip")
	code, err := os.ReadFile(filepath.Join(filepath.Dir(runner), "plugins/losses/clip"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, append(code, 0), 0o755); err != nil {
		t.Fatal(err)
	}
	r = finish(t, mpirunWith(t, dir, "-n", "1", runner, "run", "sweep.yaml", "--rerun", "--no-progress", ":",
		"-n", "1", runner, "run", "sweep.yaml", "--dev-plugin", "losses/clip="+other))
	if r.code == 0 || !strings.Contains(r.stderr, "rank 1 on "+collective.Host()+": losses/clip: loss is another plugin here ("+other) {
		t.Errorf("another plugin: exit code %d\n%s", r.code, r.stderr)
	}
}

// SIGUSR2, which mpirun passes on, has all ranks finish the step and rank 0 write a checkpoint.
func TestRanksStopWithACheckpoint(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny)
	cmd := mpirun(t, dir, 2, "run", "tiny.yaml", "--no-progress", "--set", "train.max_steps=100000", "--set", "train.checkpoint_every=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	ended := training(t, dir, cmd)
	signal(t, cmd.Process.Pid, syscall.SIGUSR2)
	<-ended
	if s := show(t, dir, "latest"); s.Status != "interrupted" || len(s.Checkpoints) != 1 {
		t.Errorf("exit code %d, %+v\n%s", cmd.ProcessState.ExitCode(), s, &stderr)
	}
}

// relatives lists the processes of ranks in dir: their runners by rank, and the plugins of each.
func relatives(t *testing.T, dir string) (runners map[string]int, plugins map[string][]int) {
	t.Helper()
	runners, plugins = map[string]int{}, map[string][]int{}
	found, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range found {
		env, err := os.ReadFile(file)
		at, _ := os.Readlink(filepath.Join(filepath.Dir(file), "cwd"))
		var pid int
		_, scanned := fmt.Sscanf(file, "/proc/%d/environ", &pid)
		if err != nil || at != dir || scanned != nil {
			continue
		}
		for kv := range strings.SplitSeq(string(env), "\x00") {
			if rank, ok := strings.CutPrefix(kv, "OMPI_COMM_WORLD_RANK="); ok {
				runners[rank] = pid
			}
		}
	}
	for rank, pid := range runners {
		all, _ := family(pid)
		plugins[rank] = all[1:]
	}
	return runners, plugins
}

// sharedMemory lists the files in shared memory that ranks and their plugins have.
func sharedMemory(runners map[string]int, plugins map[string][]int) (names []string) {
	pids := slices.Concat(slices.Collect(maps.Values(runners)), slices.Concat(slices.Collect(maps.Values(plugins))...))
	for _, pid := range pids {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid)) // none of one that has just ended
		for line := range strings.SplitSeq(string(text), "\n") {
			if at := strings.Index(line, "/dev/shm/"); at >= 0 && !strings.HasSuffix(line, " (deleted)") {
				names = append(names, line[at:])
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// newestCheckpoint returns the step of the newest checkpoint of the runs in dir; 0 without one.
func newestCheckpoint(dir string) (step int) {
	found, _ := filepath.Glob(filepath.Join(dir, "results/runs/*/checkpoints/step-????????"))
	for _, path := range found {
		n, _ := strconv.Atoi(strings.TrimPrefix(filepath.Base(path), "step-"))
		step = max(step, n)
	}
	return step
}

// A kill is one of a process of ranks.
type kill struct {
	rank     string
	ofPlugin bool
	at       int           // the checkpoint after which it comes; it never does where there is none
	moment   time.Duration // after that
	hit      bool          // not so when all had ended before
	took     time.Duration // until all had ended
	err      error         // of mpirun
	memory   []string      // files in shared memory that the processes had
}

// end starts ranks in dir and kills one of their processes. It returns when no process is left.
func (k *kill) end(t *testing.T, dir string, random *rand.Rand, args ...string) {
	t.Helper()
	cmd := mpirun(t, dir, 2, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { k.err = cmd.Wait(); close(ended) }()
	over := func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	}
	waitFor(t, func() bool {
		_, plugins := relatives(t, dir)
		return len(plugins[k.rank]) >= 3 && newestCheckpoint(dir) >= k.at || over()
	})
	select {
	case <-time.After(k.moment):
	case <-ended:
	}
	runners, plugins := relatives(t, dir)
	k.memory = sharedMemory(runners, plugins)
	victim := runners[k.rank]
	if own := plugins[k.rank]; k.ofPlugin && len(own) > 0 {
		victim = own[random.IntN(len(own))]
	}
	k.hit = victim > 1 && !over() && syscall.Kill(victim, syscall.SIGKILL) == nil
	killed := time.Now()
	<-ended
	waitFor(t, func() bool { runners, plugins := relatives(t, dir); return len(runners) == 0 && len(plugins) == 0 })
	k.took = time.Since(killed)
}

// Whatever process of whatever rank is killed, all ranks end soon and leave nothing behind, and the run goes on to the bits of one that
// was left alone. Once each by default; with TANDEM_LONG=1 twenty times (TANDEM_RANK_KILLS), at random steps.
func TestRanksAreKilledAndGoOn(t *testing.T) {
	spec := strings.NewReplacer("max_steps: 24", "max_steps: 40", "checkpoint_every: 8", "checkpoint_every: 3\n  eval_every: 10").Replace(tiny)
	calm := t.TempDir()
	write(t, calm, "tiny.yaml", spec)
	r := finish(t, mpirun(t, calm, 2, "run", "tiny.yaml", "-q"))
	if r.code != 0 {
		t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	want := files(t, calm, strings.TrimSpace(r.stdout), 40)
	kills := 4
	if os.Getenv("TANDEM_LONG") != "" {
		kills = number(t, "TANDEM_RANK_KILLS", 20)
	}
	seed := number(t, "TANDEM_SEED", 1)
	t.Logf("TANDEM_SEED=%d, %d kills", seed, kills)
	random := rand.New(rand.NewPCG(uint64(seed), 15))

	dir, args := t.TempDir(), []string{"run", "tiny.yaml", "-q"}
	write(t, dir, "tiny.yaml", spec)
	var slowest time.Duration
	hits, memory, compared := 0, 0, 0
	for hits < kills {
		k := kill{rank: fmt.Sprint(hits % 2), ofPlugin: hits/2%2 == 1,
			at: newestCheckpoint(dir) + random.IntN(16), moment: time.Duration(random.IntN(50)) * time.Millisecond}
		k.end(t, dir, random, args...)
		if memory += len(k.memory); k.hit {
			hits++
			slowest = max(slowest, k.took)
		}
		if left := slices.DeleteFunc(k.memory, func(name string) bool { return !exists(name) }); len(left) > 0 {
			t.Errorf("kill %d of rank %s left %v", hits, k.rank, left)
		}
		var runs []struct{ ID, Status string }
		if exists(filepath.Join(dir, "results/results.db")) {
			if err := json.Unmarshal([]byte(must(t, dir, "list", "--json", "-n", "1")), &runs); err != nil {
				t.Fatal(err)
			}
		}
		if len(runs) == 0 {
			continue
		}
		t.Logf("kill %d of rank %s (a plugin: %v, hit: %v) after step %d: all ended after %v, mpirun with %v; the run is %s",
			hits, k.rank, k.ofPlugin, k.hit, k.at, k.took.Round(time.Millisecond), k.err, runs[0].Status)
		args = []string{"run", "--resume", "-q"}
		if runs[0].Status == "done" {
			same(t, want, files(t, dir, runs[0].ID, 40))
			compared++
			dir, args = t.TempDir(), []string{"run", "tiny.yaml", "-q"}
			write(t, dir, "tiny.yaml", spec)
		}
	}
	r = finish(t, mpirun(t, dir, 2, args...))
	if r.code != 0 {
		t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	same(t, want, files(t, dir, strings.TrimSpace(r.stdout), 40))
	t.Logf("%d kills; the slowest end took %v; of %d files in shared memory none was left; %d runs had the bits of one that was left alone", hits, slowest, memory, compared+1)
	if memory == 0 {
		t.Error("no rank had a file in shared memory, so what is left of them was not looked at")
	}
}
