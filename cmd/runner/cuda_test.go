package main_test

import (
	"bytes"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"tandem/core/engine/tower/towertest"
)

// needCUDA skips where there is neither a GPU nor the double of its driver (make test-cuda).
func needCUDA(t *testing.T) {
	t.Helper()
	if !slices.Contains(towertest.Devices(), "cuda:0") {
		t.Skip("no GPU, and not built with the tag clipcuda")
	}
}

const bottlenecks = `image: {encoder: resnet-attnpool, with: {image_size: 32, layers: [1, 1, 1, 1], width: 4}}
text: {encoder: transformer, with: {width: 32, layers: 1, heads: 2, context_length: 16, vocab_size: 800}}
loss: {plugin: clip}
embed_dim: 32
data:
  train: {dataset: emoji, with: {split: train}}
train: {max_steps: 20, batch_size: 16, lr: 1e-3, warmup_steps: 5}
`

// TestCUDATrainingFollowsTheCPU trains the quickstart, a residual network and a vision transformer on both.
func TestCUDATrainingFollowsTheCPU(t *testing.T) {
	needCUDA(t)
	dir := t.TempDir()
	quickstart, err := filepath.Abs("../../experiments/quickstart.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "resnet.yaml", bottlenecks)
	write(t, dir, "vit.yaml", small)
	const steps = 20
	batch := "32" // the double takes seconds for a step of the quickstart's 128
	if os.Getenv("TANDEM_LONG") != "" {
		batch = "128"
	}
	for name, args := range map[string][]string{
		"quickstart": {quickstart, "--set", "eval=[]", "--set", "train.batch_size=" + batch},
		"resnet":     {"resnet.yaml"},
		"vit":        {"vit.yaml", "--set", "train.batch_size=32", "--set", "train.micro_batch_size=16"},
	} {
		t.Run(name, func(t *testing.T) {
			args = append([]string{"run"}, append(args, "--set", "train.max_steps=20")...)
			want := losses(t, dir, steps, append(args, "--set", "device=cpu")...)
			got := losses(t, dir, steps, append(args, "--set", "device=cuda")...)
			worst := 0.0
			for i := range want {
				worst = max(worst, math.Abs(got[i]-want[i]))
			}
			if !(worst <= 1e-4) {
				t.Errorf("losses differ by %g:\n%v\n%v", worst, got, want)
			}
			t.Logf("losses from %.4f to %.4f differ by %.1e", want[0], want[steps-1], worst)
		})
	}
	noFindings(t, dir)
}

// TestCUDATrainingInLowPrecision holds the losses of bf16 and tf32 to 2 % of those of float32.
func TestCUDATrainingInLowPrecision(t *testing.T) {
	needCUDA(t)
	dir := t.TempDir()
	write(t, dir, "vit.yaml", small)
	args := []string{"run", "vit.yaml", "--set", "train.max_steps=20", "--set", "train.batch_size=16", "--set", "device=cuda"}
	want := losses(t, dir, 20, args...)
	for _, precision := range []string{"bf16", "tf32"} {
		got, worst := losses(t, dir, 20, append(args, "--set", "train.precision="+precision)...), 0.0
		for i := range want {
			worst = max(worst, math.Abs(got[i]/want[i]-1))
		}
		if !(worst <= .02) || worst == 0 {
			t.Errorf("%s: losses differ by %g of those in float32", precision, worst)
		}
		t.Logf("%s: losses differ by %.1e of those in float32", precision, worst)
	}
	noFindings(t, dir)
}

// noFindings looks for what the driver's double found in plugins: memory that is left, faults of kernels.
func noFindings(t *testing.T, dir string) {
	t.Helper()
	logs, _ := filepath.Glob(filepath.Join(dir, "results/runs/*/logs/plugin-*.log"))
	for _, name := range logs {
		if text, _ := os.ReadFile(name); bytes.Contains(text, []byte("cuda double:")) {
			t.Errorf("%s:\n%s", filepath.Base(name), text)
		}
	}
	if len(logs) == 0 {
		t.Error("no plugin left a log")
	}
}

// tinyOnCUDA runs tiny on a GPU and returns what it gave.
func tinyOnCUDA(t *testing.T, dir string, env []string, args ...string) []float64 {
	t.Helper()
	write(t, dir, "tiny.yaml", tiny)
	cmd := command(t, dir, append([]string{"run", "tiny.yaml", "-q", "--set", "device=cuda", "--set", "eval=[]"}, args...)...)
	cmd.Env = append(cmd.Env, env...)
	r := finish(t, cmd)
	if r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	return lossesOf(t, dir, 24, strings.TrimSpace(r.stdout))
}

// TestCUDATowersShareAGPUOrHaveOneEach gives the same bits either way, and in whatever order streams that nothing
// puts in order come to their work.
func TestCUDATowersShareAGPUOrHaveOneEach(t *testing.T) {
	needCUDA(t)
	if os.Getenv("TANDEM_CUDA_DOUBLE") == "" {
		t.Skip("for the double, which has as many GPUs as wanted")
	}
	dir := t.TempDir()
	want := tinyOnCUDA(t, dir, nil)
	if got := tinyOnCUDA(t, dir, []string{"TANDEM_CUDA_DOUBLE_DEVICES=2"}, "--set", "text.device=cuda:1"); !slices.Equal(got, want) {
		t.Errorf("on two GPUs the losses are %v, on one %v", got, want)
	}
	for _, seed := range []string{"1", "2"} {
		if got := tinyOnCUDA(t, dir, []string{"TANDEM_CUDA_DOUBLE_SEED=" + seed}, "--set", "device_memory=50%"); !slices.Equal(got, want) {
			t.Errorf("in another order the losses are %v, want %v", got, want)
		}
	}
	noFindings(t, dir)
}

func TestCUDAPluginKilledLeavesNothingAndResumes(t *testing.T) {
	needCUDA(t)
	args := []string{"--set", "device=cuda", "--set", "eval=[]", "--set", "train.colocate=false"}
	calm := t.TempDir()
	write(t, calm, "tiny.yaml", tiny)
	id := strings.TrimSpace(must(t, calm, append([]string{"run", "tiny.yaml", "-q"}, args...)...))
	want := files(t, calm, id, 24)

	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny)
	said, _ := killPlugin(t, dir, "vit", append([]string{"run", "tiny.yaml", "-q"}, args...)...)
	if !strings.Contains(said, "encoders/vit") {
		t.Errorf("the fault does not name the plugin: %s", said)
	}
	resumed := strings.TrimSpace(must(t, dir, "run", "--resume", "-q"))
	same(t, want, files(t, dir, resumed, 24))
	noFindings(t, calm)
}

// killPlugin starts the runner, kills the plugin of a name once there is a checkpoint, and checks that no process is left. It
// returns what the runner said, and the names of all processes that there were.
func killPlugin(t *testing.T, dir, name string, args ...string) (said string, names []string) {
	t.Helper()
	cmd := command(t, dir, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		found, _ := filepath.Glob(filepath.Join(dir, "results/runs/*/checkpoints/step-*/state.json"))
		return len(found) > 0
	})
	pids, names := family(cmd.Process.Pid)
	i := slices.Index(names, name)
	if i < 0 {
		t.Fatalf("the plugins are %v", names)
	}
	if err := syscall.Kill(pids[i], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the runner did not notice")
	}
	for k, pid := range pids[1:] {
		if err := syscall.Kill(pid, 0); err == nil {
			t.Errorf("%s, process %d, is left", names[k+1], pid)
		}
	}
	return stderr.String(), names
}

// TestCUDAMemoryThatDoesNotDoIsToldWithThePlan asks for a share of the GPU that nothing fits in.
func TestCUDAMemoryThatDoesNotDoIsToldWithThePlan(t *testing.T) {
	needCUDA(t)
	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny)
	r := try(t, dir, "run", "tiny.yaml", "-q", "--set", "device=cuda", "--set", "device_memory=200 kB")
	for _, want := range []string{"device_memory: a training step takes at least", "of the memory of cuda:0", "image, at least", "parameters",
		"activations", "train.micro_batch_size: 8"} {
		if r.code == 0 || !strings.Contains(r.stderr, want) {
			t.Errorf("exit code %d, and the fault does not say %q:\n%s", r.code, want, r.stderr)
		}
	}
}

// TestWithoutADriverTheBinaryStaysUseful hides the driver from a build with CUDA.
func TestWithoutADriverTheBinaryStaysUseful(t *testing.T) {
	needCUDA(t)
	if os.Getenv("TANDEM_CUDA_DOUBLE") == "" {
		t.Skip("the driver cannot be hidden")
	}
	dir := t.TempDir()
	hidden := func(args ...string) result {
		cmd := command(t, dir, args...)
		cmd.Env = slices.DeleteFunc(cmd.Env, func(kv string) bool { return strings.HasPrefix(kv, "LD_LIBRARY_PATH=") })
		return finish(t, cmd)
	}
	write(t, dir, "tiny.yaml", tiny)
	if r := hidden("devices"); r.code != 0 || !strings.Contains(r.stdout, "driver") {
		t.Errorf("devices: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if r := hidden("run", "tiny.yaml", "-q", "--set", "device=auto", "--set", "train.max_steps=2", "--set", "eval=[]"); r.code != 0 {
		t.Errorf("device auto: exit code %d\n%s", r.code, r.stderr)
	}
	r := hidden("run", "tiny.yaml", "-q", "--set", "device=cuda")
	if r.code == 0 || !strings.Contains(r.stderr, "device: ") || !strings.Contains(r.stderr, "hint:") {
		t.Errorf("device cuda: exit code %d\n%s", r.code, r.stderr)
	}
	if out, _ := exec.Command("pgrep", "-f", dir).Output(); len(out) > 0 {
		t.Errorf("processes are left: %s", out)
	}
}
