package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sweepBlock makes four cells of tiny.yaml, two of them the same run, each under two seeds.
const sweepBlock = `
ablate:
  design: one-at-a-time
  baseline: {lr: base, smooth: none}
  factors:
    lr: {base: {}, high: {train.lr: 0.01}, low: {train.lr: 0.0001}}
    smooth: {none: {}, zero: {loss.with.label_smoothing: 0}}
  seeds: [0, 1]
`

// sweepTrials counts the runs that sweepBlock comes to.
const sweepTrials = 6

// numbers returns the results of every cell, by SQL, without run ids.
func numbers(t *testing.T, dir string) string {
	t.Helper()
	return must(t, dir, "query", "--csv", `SELECT c.variant, c.seed, c.status, m.metric, m.step, m.value FROM v_cells c
		JOIN v_metrics m ON m.run_id = c.run_id WHERE m.metric LIKE 'eval/%' OR m.metric = 'train/loss' ORDER BY 1, 2, 4, 5`)
}

func count(t *testing.T, dir, query string) int {
	t.Helper()
	var rows []struct{ N int }
	if err := json.Unmarshal([]byte(must(t, dir, "query", "--json", query)), &rows); err != nil || len(rows) != 1 {
		t.Fatalf("%s: %v, %v", query, rows, err)
	}
	return rows[0].N
}

// A sweep that is killed on the way ends with every cell done once, and with the numbers of one that two jobs made
// undisturbed; run again it starts nothing.
func TestAKilledSweepGoesOn(t *testing.T) {
	dir, undisturbed := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, undisturbed} {
		write(t, d, "sweep.yaml", tiny+sweepBlock)
	}
	must(t, undisturbed, "run", "sweep.yaml", "-q", "--jobs", "2")
	for kills := 0; kills < 2; {
		cmd := command(t, dir, "run", "sweep.yaml")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		before := 2*kills + 1
		waitFor(t, func() bool {
			r := try(t, dir, "query", "--csv", "SELECT count(*) FROM run")
			return r.code == 0 && atoi(r.stdout) >= before
		})
		time.Sleep(100 * time.Millisecond)
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		kills++
	}
	r := try(t, dir, "run", "sweep.yaml", "--no-progress")
	if r.code != 0 || !strings.Contains(r.stderr, fmt.Sprintf("%d of %d trials done", sweepTrials, sweepTrials)) {
		t.Fatalf("exit code %d\n%s", r.code, r.stderr)
	}
	if n := count(t, dir, "SELECT count(*) AS n FROM run"); n != sweepTrials {
		t.Errorf("%d runs were made for %d trials", n, sweepTrials)
	}
	if n := count(t, dir, "SELECT count(*) AS n FROM v_cells WHERE done AND planned"); n != 8 {
		t.Errorf("%d cells are filled, want 4 × 2", n)
	}
	if a, b := numbers(t, undisturbed), numbers(t, dir); a != b {
		t.Errorf("two jobs undisturbed give\n%s\none job killed twice gives\n%s", a, b)
	}
	if r := try(t, dir, "run", "sweep.yaml"); r.code != 0 || !strings.Contains(r.stderr, "nothing was started") {
		t.Errorf("run again: exit code %d\n%s", r.code, r.stderr)
	}
	if n := count(t, dir, "SELECT count(*) AS n FROM run"); n != sweepTrials {
		t.Errorf("there are %d runs now", n)
	}
}

func atoi(csv string) (n int) {
	_, line, _ := strings.Cut(csv, "\n")
	fmt.Sscan(line, &n)
	return n
}

func TestTwoRunnersShareASweep(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "sweep.yaml", tiny+sweepBlock)
	one, two := command(t, dir, "run", "sweep.yaml"), command(t, dir, "run", "sweep.yaml")
	var out [2]bytes.Buffer
	one.Stderr, two.Stderr = &out[0], &out[1]
	for _, cmd := range []interface{ Start() error }{one, two} {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for i, cmd := range []interface{ Wait() error }{one, two} {
		if err := cmd.Wait(); err != nil {
			t.Errorf("runner %d: %v\n%s", i, err, &out[i])
		}
		if strings.Contains(out[i].String(), "locked") {
			t.Errorf("runner %d:\n%s", i, &out[i])
		}
	}
	if n := count(t, dir, "SELECT count(*) AS n FROM run"); n != sweepTrials {
		t.Errorf("%d runs were made for %d trials", n, sweepTrials)
	}
	if n := count(t, dir, "SELECT count(*) AS n FROM run_status WHERE status = 'running'"); n != sweepTrials {
		t.Errorf("%d starts for %d trials", n, sweepTrials)
	}
}

// Ctrl-C ends a sweep with what it has; a failing trial is tried again, and does not keep the others from running.
func TestASweepSurvivesAFailingTrial(t *testing.T) {
	dir := t.TempDir()
	// A rate that no float survives: the loss is NaN.
	block := strings.Replace(sweepBlock, "train.lr: 0.01", "train.lr: 1000, train.weight_decay: 1", 1) + "  retries: {numeric: 1}\n  backoff: 10ms\n"
	write(t, dir, "sweep.yaml", tiny+block)
	r := try(t, dir, "run", "sweep.yaml")
	if r.code != 1 || !strings.Contains(r.stderr, "4 of 6 trials done, 2 failed") || !strings.Contains(r.stderr, "attempt 2") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	if n := count(t, dir, "SELECT count(*) AS n FROM v_failures WHERE variant = 'lr=high' AND error_kind = 'numeric'"); n != 2 {
		t.Errorf("%d failures are recorded", n)
	}
}
