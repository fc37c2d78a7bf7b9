package main_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// A tracker that cannot be written costs a run nothing: what it lacks is counted, said and recorded.
func TestARunGoesOnWithoutItsTracker(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "file", "no folder")
	write(t, dir, "tiny.yaml", tiny+"report: [{tensorboard: {dir: file}}]\n")
	r := try(t, dir, "run", "tiny.yaml", "--no-progress")
	if r.code != 0 {
		t.Fatalf("exit code %d\n%s", r.code, r.stderr)
	}
	for _, want := range []string{"tensorboard cannot be written: ", "; the run goes on", "tensorboard has 0 of "} {
		if n := strings.Count(r.stderr, want); n != 1 {
			t.Errorf("%q is said %d times:\n%s", want, n, r.stderr)
		}
		if n := count(t, dir, "SELECT count(*) AS n FROM event WHERE kind = 'report' AND level = 'warning' AND message LIKE '%"+want+"%'"); n != 1 {
			t.Errorf("%q is recorded %d times", want, n)
		}
	}
}

// A tracker named on the command line is that of a run as one named in its spec is, and makes no other run of it.
func TestTrackersAreNoPartOfARun(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny+"report: [tensorboard]\n")
	first := strings.TrimSpace(must(t, dir, "run", "tiny.yaml", "-q"))
	second := strings.TrimSpace(must(t, dir, "run", "tiny.yaml", "-q", "--report", "tensorboard", "--set", "variant=x"))
	for _, folder := range []string{"seed0-" + first, "x-seed0-" + second} {
		if found, err := filepath.Glob(filepath.Join(dir, "results/tensorboard/tiny", folder, "events.out.tfevents.*")); err != nil || len(found) != 1 {
			t.Errorf("%s holds %v, %v", folder, found, err)
		}
	}
	if n := count(t, dir, "SELECT count(DISTINCT identity) AS n FROM run"); n != 1 {
		t.Errorf("the runs have %d identities", n)
	}
	if n := count(t, dir, "SELECT count(*) AS n FROM event WHERE kind = 'report'"); n != 0 {
		t.Errorf("%d events tell of trackers that work", n)
	}
	for want, args := range map[string][]string{
		"did you mean tensorboard?": {"run", "tiny.yaml", "--report", "tensorbord"},
		"--report with --resume":    {"run", "--resume", "--report", "tensorboard"},
	} {
		if r := try(t, dir, args...); r.code != 2 || !strings.Contains(r.stderr, want) {
			t.Errorf("%v: code %d\n%s", args, r.code, r.stderr)
		}
	}
}
