package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

type curve []struct {
	Metric string  `json:"metric"`
	Step   int     `json:"step"`
	Value  float64 `json:"value"`
}

func curves(t *testing.T, dir, id string) string {
	t.Helper()
	out := must(t, dir, "query", "--json", "select metric, step, value from v_metrics where run_id = '"+id+
		"' and metric not like '%_per_s' and metric not like '%_ms' order by metric, step")
	var c curve
	if err := json.Unmarshal([]byte(out), &c); err != nil || len(c) < 100 {
		t.Fatalf("%d points (%v)", len(c), err)
	}
	return out
}

// A run from start to end, what it left behind, and a twin that is killed and resumed.
func TestTrainLookAndResume(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny)
	id := strings.TrimSpace(must(t, dir, "run", "tiny.yaml", "-q"))

	t.Run("show", func(t *testing.T) {
		var d struct {
			Status     string   `json:"status"`
			Parameters int64    `json:"parameters"`
			ImagesPerS *float64 `json:"images_per_s"`
			StepMS     *float64 `json:"step_ms"`
			Params     map[string]any
			Plugins    []struct{ Role, Name, SHA256 string }
		}
		if err := json.Unmarshal([]byte(must(t, dir, "show", "latest", "--json")), &d); err != nil {
			t.Fatal(err)
		}
		if d.Status != "done" || d.Parameters < 10_000 || d.ImagesPerS == nil || d.StepMS == nil || len(d.Plugins) != 5 {
			t.Errorf("%+v", d)
		}
		if d.Params["train.batch_size"] != 16.0 || d.Params["image.encoder"] != "vit" {
			t.Errorf("params %v", d.Params)
		}
	})
	t.Run("zeroshot", func(t *testing.T) {
		must(t, dir, "data", "peek", "tiny.yaml", "-n", "2", "-o", "sheet.png")
		var found []struct {
			Guesses []struct{ Probability float64 }
		}
		out := must(t, dir, "zeroshot", id, "sheet.png", "--labels", "cat,dog,sun", "--json")
		if err := json.Unmarshal([]byte(out), &found); err != nil || len(found) != 1 || len(found[0].Guesses) != 3 {
			t.Fatalf("%v: %s", err, out)
		}
		sum := 0.0
		for _, g := range found[0].Guesses {
			sum += g.Probability
		}
		if sum < 0.999 || sum > 1.001 {
			t.Errorf("probabilities sum to %g", sum)
		}
	})
	t.Run("a broken picture", func(t *testing.T) {
		if r := try(t, dir, "zeroshot", id, "tiny.yaml", "--labels", "a,b"); r.code != 2 {
			t.Errorf("exit code %d: %s", r.code, r.stderr)
		}
	})
	t.Run("sql is read-only", func(t *testing.T) {
		if r := try(t, dir, "query", "delete from run"); r.code != 2 {
			t.Errorf("exit code %d: %s", r.code, r.stderr)
		}
	})
	t.Run("killed and resumed", func(t *testing.T) {
		cmd := command(t, dir, "run", "tiny.yaml", "-q", "--set", "train.max_steps=24")
		killAtCheckpoint(t, dir, cmd)
		out := must(t, dir, "list", "--json", "-n", "1")
		var runs []struct{ ID, Status string }
		if err := json.Unmarshal([]byte(out), &runs); err != nil || runs[0].Status != "interrupted" || runs[0].ID == id {
			t.Fatalf("%v: %s", err, out)
		}
		if got := strings.TrimSpace(must(t, dir, "run", "--resume", "-q")); got != runs[0].ID {
			t.Errorf("resumed %s, want %s", got, runs[0].ID)
		}
		if a, b := curves(t, dir, id), curves(t, dir, runs[0].ID); a != b {
			t.Error("the metrics differ from those of the uninterrupted run")
		}
		if out := must(t, dir, "compare", id, runs[0].ID); !strings.Contains(out, "The configurations are the same") {
			t.Errorf("compare: %s", out)
		}
	})
}

// killAtCheckpoint starts cmd and kills it as soon as its run has a checkpoint.
func killAtCheckpoint(t *testing.T, dir string, cmd *exec.Cmd) {
	t.Helper()
	before, _ := filepath.Glob(filepath.Join(dir, "results/runs/*/checkpoints/step-00000008"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		now, _ := filepath.Glob(filepath.Join(dir, "results/runs/*/checkpoints/step-00000008"))
		return len(now) > len(before)
	})
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
}

// Ctrl-C ends a run with a checkpoint and exit code 130; a plugin's death with 1 and its name.
func TestStopAndFailure(t *testing.T) {
	for _, c := range []struct {
		name, status string
		code         int
		end          func(t *testing.T, cmd *exec.Cmd)
	}{
		{"Ctrl-C", "interrupted", 130, func(t *testing.T, cmd *exec.Cmd) { signal(t, cmd.Process.Pid, syscall.SIGINT) }},
		{"plugin killed", "failed", 1, func(t *testing.T, cmd *exec.Cmd) {
			out, err := exec.Command("pgrep", "-P", fmt.Sprint(cmd.Process.Pid), "-f", "encoders/transformer").Output()
			if err != nil {
				t.Fatal(err)
			}
			var pid int
			fmt.Sscan(string(out), &pid)
			signal(t, pid, syscall.SIGKILL)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "tiny.yaml", tiny)
			cmd := command(t, dir, "run", "tiny.yaml", "--no-progress", "--set", "train.max_steps=100000", "--set", "train.checkpoint_every=0")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			db := filepath.Join(dir, "results/results.db")
			waitFor(t, func() bool {
				select {
				case err := <-ended:
					t.Fatalf("the run ended by itself: %v\n%s", err, &stderr)
				default:
				}
				if _, err := os.Stat(db); err != nil {
					return false
				}
				r := try(t, dir, "query", "--csv", "select count(*) from v_metrics")
				return strings.TrimSpace(strings.TrimPrefix(r.stdout, "count(*)")) > "0"
			})
			c.end(t, cmd)
			<-ended
			if code := cmd.ProcessState.ExitCode(); code != c.code {
				t.Errorf("exit code %d, want %d\n%s", code, c.code, &stderr)
			}
			var d struct {
				Status      string
				Checkpoints []any
				Error       *struct{ Kind, Plugin string }
			}
			if err := json.Unmarshal([]byte(must(t, dir, "show", "latest", "--json")), &d); err != nil {
				t.Fatal(err)
			}
			if d.Status != c.status {
				t.Errorf("status %s, want %s", d.Status, c.status)
			}
			switch c.status {
			case "failed":
				if d.Error == nil || d.Error.Kind != "plugin_died" || d.Error.Plugin != "encoders/transformer" {
					t.Errorf("error %+v", d.Error)
				}
			default:
				if len(d.Checkpoints) != 1 || !strings.Contains(stderr.String(), "runner run --resume=") {
					t.Errorf("%d checkpoints\n%s", len(d.Checkpoints), &stderr)
				}
			}
		})
	}
}
