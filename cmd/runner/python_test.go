package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// pythonRun describes a run whose image tower, loss and data are plugins in Python. PLUGINS is their folder.
const pythonRun = `image: {encoder: PLUGINS/tinyconv, with: {width: 8, image_size: 16, norm: true, dropout: 0.1}}
text: {encoder: transformer, with: {width: 16, layers: 1, heads: 1, context_length: 12, vocab_size: 600}}
loss: {plugin: PLUGINS/torchclip}
embed_dim: 16
python: INTERPRETER
data:
  train: {dataset: PLUGINS/squares, augment: {random_resized_crop: {scale: [0.5, 1]}}}
train: {batch_size: 16, micro_batch_size: 8, max_steps: 40, checkpoint_every: 10, keep_checkpoints: 3}
device: cpu
`

// A run with plugins in Python, one of which is killed, is resumed to the same bits.
func TestAKilledRunOfPythonPluginsIsResumed(t *testing.T) {
	python := os.Getenv("TANDEM_PYTHON")
	if os.Getenv("TANDEM_TEST_TORCH") == "" || exec.Command(python, "-c", "import torch, grpc, numpy, PIL").Run() != nil {
		t.Skip("make test-python runs the tests with PyTorch")
	}
	sdk, err := filepath.Abs("../../core/plugin/sdk/python")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PYTHONPATH", sdk)
	t.Setenv("TANDEM_PYTHON", "") // the spec names it
	spec := strings.NewReplacer("PLUGINS", filepath.Join(sdk, "tests/plugins"), "INTERPRETER", python).Replace(pythonRun)

	calm := t.TempDir()
	write(t, calm, "py.yaml", spec)
	id := strings.TrimSpace(must(t, calm, "run", "py.yaml", "-q"))
	want := files(t, calm, id, 40)

	dir := t.TempDir()
	write(t, dir, "py.yaml", spec)
	for i, victim := range []string{"tinyconv", "torchclip", "squares"} {
		args := []string{"run", "py.yaml", "-q"}
		if i > 0 {
			args = []string{"run", "--resume", "-q"}
		}
		cmd := command(t, dir, args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		step := []string{"10", "20", "30"}[i]
		waitFor(t, func() bool { return exists(checkpointOf(dir, step)) })
		killPython(t, cmd.Process.Pid, victim)
		if err := cmd.Wait(); err == nil {
			t.Logf("the run ended before %s was killed", victim)
		}
	}
	must(t, dir, "run", "--resume", "-q")
	runs, _ := filepath.Glob(filepath.Join(dir, "results/runs/*"))
	if len(runs) != 1 {
		t.Fatalf("runs are %v", runs)
	}
	same(t, want, files(t, dir, filepath.Base(runs[0]), 40))
}

// checkpointOf returns the path of a whole checkpoint of the only run; "nothing" while there is none.
func checkpointOf(dir, step string) string {
	found, _ := filepath.Glob(filepath.Join(dir, "results/runs/*/checkpoints/step-000000"+step+"/state.json"))
	if len(found) == 0 {
		return "nothing"
	}
	return found[0]
}

// killPython kills the child of the runner whose command line names a plugin.
func killPython(t *testing.T, runner int, name string) {
	t.Helper()
	pids, _ := family(runner)
	for _, pid := range pids {
		line, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		if strings.Contains(string(line), "/"+name+"/plugin.py") {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
				t.Fatal(err)
			}
			return
		}
	}
	t.Logf("%s has ended before", name)
}
