package main_test

import (
	"math"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"tandem/core/experiment/collective/mpi/mpitest"
)

// Two machines that have only TCP in common make the run of two ranks on one machine, with its bits.
func TestTwoMachinesMakeTheRunOfOne(t *testing.T) {
	h := mpitest.New(t)
	made := func(on func(*exec.Cmd) *exec.Cmd) (losses []float64, hosts any) {
		dir := t.TempDir()
		write(t, dir, "tiny.yaml", tiny)
		r := finish(t, on(mpirun(t, dir, 2, "run", "tiny.yaml", "-q", "--set", "threads=1")))
		if r.code != 0 {
			t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
		}
		id := strings.TrimSpace(r.stdout)
		return stepLosses(t, dir, id), show(t, dir, id).Facts["ranks.hosts"]
	}
	want, _ := made(func(cmd *exec.Cmd) *exec.Cmd { return cmd })
	got, hosts := made(h.Spread)
	if hosts != h.Names[0]+" (1 rank), "+h.Names[1]+" (1 rank)" {
		t.Errorf("the ranks were on %v", hosts)
	}
	if len(want) != 24 || !slices.EqualFunc(got, want, func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }) {
		t.Errorf("losses %v, on one machine %v", got, want)
	}
}
