package main_test

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"tandem/core/engine/tower/towertest"
)

// Towers and loss that share a process write the same files as in a process each, on every device.
func TestCUDAAndOtherDevicesGiveTheSameBitsInOneProcess(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny)
	for _, device := range towertest.Devices() {
		for _, precision := range []string{"f32", "bf16-emulated"} {
			if device == "host" && precision == "bf16-emulated" {
				continue
			}
			args := []string{"run", "tiny.yaml", "-q", "--set", "eval=[]", "--set", "device=" + device, "--set", "train.precision=" + precision}
			apart := strings.TrimSpace(must(t, dir, append(args, "--set", "train.colocate=false", "--set", "name=apart")...))
			one := strings.TrimSpace(must(t, dir, append(args, "--set", "train.colocate=true", "--set", "name=one")...))
			same(t, files(t, dir, apart, 24), files(t, dir, one, 24))
			if found, _ := filepath.Glob(filepath.Join(dir, "results/runs", one, "logs/plugin-*.log")); !slices.Contains(found, filepath.Join(dir, "results/runs", one, "logs/plugin-colocated.log")) || len(found) != 2 {
				t.Errorf("%s: the logs are %v, want one of the data and one of the rest", device, found)
			}
		}
	}
	noFindings(t, dir)
}

// Where towers and loss share a GPU they share a process too, and its death leaves nothing and is gone on from.
func TestCUDAProcessOfSeveralKilledLeavesNothingAndResumes(t *testing.T) {
	needCUDA(t)
	args := []string{"run", "tiny.yaml", "-q", "--set", "device=cuda", "--set", "eval=[]"}
	calm, dir := t.TempDir(), t.TempDir()
	write(t, calm, "tiny.yaml", tiny)
	want := files(t, calm, strings.TrimSpace(must(t, calm, args...)), 24)
	write(t, dir, "tiny.yaml", tiny)
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
	i := slices.Index(names, "colocated")
	if i < 0 || slices.Contains(names, "vit") {
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
	same(t, want, files(t, dir, strings.TrimSpace(must(t, dir, "run", "--resume", "-q")), 24))
	noFindings(t, calm)
}
