package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A run that is killed over and over, at random moments and in random places (the runner or any plugin,
// with SIGKILL), and resumed each time, ends with the files of one that was left alone: weights, buffers
// and optimiser states, bit for bit.
//
// It evaluates every five steps and checkpoints every three, so that kills come there too. Ten kills of a short run by
// default; with TANDEM_LONG=1 it is killed TANDEM_KILLS times (140, with those of the commands below 300). TANDEM_SEED
// repeats a series.
func TestKilledOverAndOver(t *testing.T) {
	steps, kills := 50, 10
	if os.Getenv("TANDEM_LONG") != "" {
		steps, kills = 80, number(t, "TANDEM_KILLS", 140)
	}
	seed := number(t, "TANDEM_SEED", 1)
	t.Logf("TANDEM_SEED=%d, %d kills of a run of %d steps", seed, kills, steps)
	random := rand.New(rand.NewPCG(uint64(seed), 5))
	spec := strings.NewReplacer("max_steps: 24", fmt.Sprintf("max_steps: %d", steps), "checkpoint_every: 8", "checkpoint_every: 3\n  eval_every: 5").Replace(tiny)

	calm := t.TempDir()
	write(t, calm, "tiny.yaml", spec)
	began := time.Now()
	id := strings.TrimSpace(must(t, calm, "run", "tiny.yaml", "-q"))
	whole := time.Since(began)
	want := files(t, calm, id, steps)

	dir := t.TempDir()
	write(t, dir, "tiny.yaml", spec)
	var victims []string
	finished, resumed := 0, 0
	args := []string{"run", "tiny.yaml", "-q"}
	for done := 0; done < kills; {
		// Some moments are in the start of the processes, some in steps, some in checkpoints. Each
		// attempt goes on from where the last one came to, so that a run can also reach its end; what
		// is then killed is another.
		moment := time.Duration(random.Float64() * float64(whole))
		victim, ended := killed(t, dir, args, moment, random)
		if !ended {
			victims = append(victims, victim)
			if done++; done%20 == 0 {
				t.Logf("%d killed", done)
			}
		}
		if !exists(filepath.Join(dir, "results/results.db")) { // it died before that
			continue
		}
		listed := try(t, dir, "list", "--json", "-n", "1")
		if listed.code == 2 && strings.Contains(listed.stderr, "it is empty") { // it died before the schema was made
			continue
		}
		if listed.code != 0 {
			t.Fatalf("after %d kills: %s", done, listed.stderr)
		}
		var runs []struct{ ID, Status string }
		if err := json.Unmarshal([]byte(listed.stdout), &runs); err != nil || len(runs) > 1 {
			t.Fatalf("%d runs (%v)", len(runs), err)
		}
		switch {
		case len(runs) == 0: // before the run was recorded
		case runs[0].Status == "done":
			same(t, want, files(t, dir, runs[0].ID, steps))
			finished++
			dir = t.TempDir()
			write(t, dir, "tiny.yaml", spec)
			args = []string{"run", "tiny.yaml", "-q"}
		default:
			args = []string{"run", "--resume", "-q"}
			if whole, _ := filepath.Glob(filepath.Join(dir, "results/runs/*/checkpoints/step-*/state.json")); len(whole) > 0 {
				resumed++
			}
		}
	}
	last := strings.TrimSpace(must(t, dir, args...))
	same(t, want, files(t, dir, last, steps))
	t.Logf("killed: %s; %d times with a checkpoint to go on from; %d runs came to their end",
		strings.Join(victims, ", "), resumed, finished+1)
	if resumed == 0 {
		t.Error("no kill came after a checkpoint")
	}
}

func number(t *testing.T, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s, want a whole number from 1", name, text)
	}
	return n
}

// killed starts the runner and kills it or one of its plugins after a while. It gives the victim's name,
// or that the runner ended before.
func killed(t *testing.T, dir string, args []string, after time.Duration, random *rand.Rand) (victim string, ended bool) {
	t.Helper()
	cmd := command(t, dir, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case err := <-exited:
		if err != nil {
			t.Fatalf("runner %v ended by itself: %v\n%s", args, err, &stderr)
		}
		return "", true
	case <-timer.C:
	}
	pids, names := family(cmd.Process.Pid)
	i := random.IntN(len(pids))
	if err := syscall.Kill(pids[i], syscall.SIGKILL); err != nil && err != syscall.ESRCH {
		t.Fatal(err)
	}
	// A plugin's death after its last call ends nothing.
	err := <-exited
	return names[i], err == nil
}

// family returns the runner and its plugins, those that are there now.
func family(runner int) (pids []int, names []string) {
	pids, names = []int{runner}, []string{"runner"}
	out, err := exec.Command("pgrep", "-P", fmt.Sprint(runner), "-a").Output()
	if err != nil { // none yet
		return pids, names
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		pid, program, _ := strings.Cut(line, " ")
		if n, err := strconv.Atoi(pid); err == nil && n > 1 && strings.Contains(program, "/plugins/") {
			pids, names = append(pids, n), append(names, filepath.Base(strings.Fields(program)[0]))
		}
	}
	return pids, names
}

// files reads those of the last checkpoint of a run.
func files(t *testing.T, dir, id string, step int) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	for _, name := range []string{"image", "text", "loss"} {
		path := filepath.Join(dir, "results/runs", id, "checkpoints", fmt.Sprintf("step-%08d", step), name+".safetensors")
		data, err := os.ReadFile(path)
		if err != nil || len(data) < 200 {
			t.Fatalf("%d bytes (%v)", len(data), err)
		}
		found[name] = data
	}
	return found
}

func same(t *testing.T, want, got map[string][]byte) {
	t.Helper()
	for name := range want {
		if !bytes.Equal(want[name], got[name]) {
			t.Errorf("the %s file differs from that of the uninterrupted run", name)
		}
	}
}
