package main_test

import (
	"path/filepath"
	"slices"
	"strings"
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
	if _, names := killPlugin(t, dir, "colocated", args...); slices.Contains(names, "vit") {
		t.Errorf("the processes were %v", names)
	}
	same(t, want, files(t, dir, strings.TrimSpace(must(t, dir, "run", "--resume", "-q")), 24))
	noFindings(t, calm)
}
