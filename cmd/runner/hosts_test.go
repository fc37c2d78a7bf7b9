package main_test

import (
	"math"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"tandem/core/experiment/collective/mpi/mpitest"
)

// Two machines that have only TCP in common make the run of two ranks on one machine, who add up in shared memory, with its bits.
func TestTwoMachinesMakeTheRunOfOne(t *testing.T) {
	h := mpitest.New(t)
	made := func(on func(*exec.Cmd) *exec.Cmd) (losses []float64, s shown) {
		dir := t.TempDir()
		write(t, dir, "tiny.yaml", tiny)
		r := finish(t, on(mpirun(t, dir, 2, "run", "tiny.yaml", "-q", "--set", "threads=1")))
		if r.code != 0 {
			t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
		}
		id := strings.TrimSpace(r.stdout)
		return stepLosses(t, dir, id), show(t, dir, id)
	}
	want, near := made(func(cmd *exec.Cmd) *exec.Cmd { return cmd })
	got, far := made(h.Spread)
	if hosts := far.Facts["ranks.hosts"]; hosts != h.Names[0]+" (1 rank), "+h.Names[1]+" (1 rank)" {
		t.Errorf("the ranks were on %v", hosts)
	}
	travel := func(e struct{ Kind, Message string }) bool {
		return e.Kind == "ranks" && strings.HasPrefix(e.Message, "gradients travel by MPI: rank 1 on "+h.Names[1])
	}
	if slices.ContainsFunc(near.Events, travel) || !slices.ContainsFunc(far.Events, travel) {
		t.Errorf("events on one machine %v, on two %v", near.Events, far.Events)
	}
	if len(want) != 24 || !slices.EqualFunc(got, want, func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }) {
		t.Errorf("losses %v, on one machine %v", got, want)
	}
}
