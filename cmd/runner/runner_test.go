package main_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tandem/core/engine/tower/towertest"
)

var runner string // the binary under test, plugins beside it

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "tandem-runner-")
	if err != nil {
		panic(err)
	}
	runner = filepath.Join(dir, "runner")
	code := 1
	if err := build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// build makes the runner and plugins as this test was built, with oneDNN and CUDA or without.
func build(dir string) error {
	tags := "-tags="
	if slices.Contains(towertest.Devices(), "cpu") {
		tags += "onednn"
	}
	if slices.Contains(towertest.Devices(), "cuda:0") {
		tags += ",clipcuda"
	}
	for target, source := range map[string][]string{
		"":                  {"."},
		"plugins/datasets/": {"../../plugins/datasets/emoji", "../../plugins/datasets/fashion-mnist", "../../plugins/datasets/csv"},
		"plugins/encoders/": {"../../plugins/encoders/vit", "../../plugins/encoders/resnet-attnpool", "../../plugins/encoders/transformer"},
		"plugins/losses/":   {"../../plugins/losses/clip", "../../plugins/losses/siglip"},
	} {
		if err := os.MkdirAll(filepath.Join(dir, target), 0o755); err != nil {
			return err
		}
		cmd := exec.Command("go", append([]string{"build", tags, "-o", filepath.Join(dir, target) + "/"}, source...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build %v: %w\n%s", source, err, out)
		}
	}
	return nil
}

// result is what a command did.
type result struct {
	stdout, stderr string
	code           int
}

// command prepares the runner in dir, away from the user's own plugins and caches.
func command(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(runner, args...)
	cmd.Dir = dir
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "RUNNER_") && !strings.HasPrefix(kv, "XDG_") && !strings.HasPrefix(kv, "HOME=") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, "HOME="+dir)
	return cmd
}

func finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

func try(t *testing.T, dir string, args ...string) result {
	t.Helper()
	return finish(t, command(t, dir, args...))
}

// must is try of a command that has to succeed.
func must(t *testing.T, dir string, args ...string) string {
	t.Helper()
	r := try(t, dir, args...)
	if r.code != 0 {
		t.Fatalf("runner %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// tiny is a spec that trains in a second or two on the pure Go backend.
const tiny = `image: {encoder: vit, with: {image_size: 16, patch_size: 8, width: 16, layers: 1, head_width: 16}}
text: {encoder: transformer, with: {width: 16, layers: 1, heads: 1, context_length: 12, vocab_size: 600}}
loss: {plugin: clip}
embed_dim: 16
data:
  train: {dataset: emoji, with: {split: train}}
eval:
  - {dataset: emoji, with: {split: test}, zero_shot: {classes: label, templates: ["an emoji of {}"]}, retrieval: true, max_samples: 40}
train:
  batch_size: 16
  max_steps: 24
  checkpoint_every: 8
device: host
`

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// trapped is a folder of plugins with the real ones' descriptors that leave the file mark when they
// are started.
func trapped(t *testing.T) (root, mark string) {
	t.Helper()
	root = t.TempDir()
	mark = filepath.Join(root, "started")
	script := []byte("#!/bin/sh\ntouch " + mark + "\n")
	plugins, err := filepath.Glob(filepath.Join(filepath.Dir(runner), "plugins/*/*"))
	if err != nil || len(plugins) < 5 {
		t.Fatalf("%d plugins (%v)", len(plugins), err)
	}
	for _, p := range plugins {
		out, err := exec.Command(p, "--manifest").Output()
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]json.RawMessage
		if err := json.Unmarshal(out, &m); err != nil {
			t.Fatal(err)
		}
		m["sha256"] = fmt.Appendf(nil, "\"%x\"", sha256.Sum256(script))
		manifest, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		fake := filepath.Join(root, filepath.Base(filepath.Dir(p)), filepath.Base(p))
		if err := os.MkdirAll(filepath.Dir(fake), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(fake, script, 0o755), os.WriteFile(fake+".json", manifest, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return root, mark
}

// The specs of the fifteen faults that must be told before anything starts, with the real plugins'
// descriptors.
func TestBadSpecsStartNothing(t *testing.T) {
	swap := func(old, now string) string {
		if !strings.Contains(tiny, old) {
			t.Fatalf("tiny has no %q", old)
		}
		return strings.Replace(tiny, old, now, 1)
	}
	root, mark := trapped(t)
	start := func(t *testing.T, spec string) (result, string) {
		dir := t.TempDir()
		write(t, dir, "bad.yaml", spec)
		cmd := command(t, dir, "run", "bad.yaml")
		cmd.Env = append(cmd.Env, "RUNNER_PLUGIN_PATH="+root)
		return finish(t, cmd), dir
	}
	for _, c := range []struct{ name, spec, want string }{
		{"unknown key", tiny + "colour: blue\n", `14:1: colour: unknown key`},
		{"misspelt key", swap("max_steps", "max_step"), `11:3: train.max_step: unknown key\n  hint: .*did you mean max_steps`},
		{"wrong type", swap("batch_size: 16", "batch_size: many"), `10:15: train.batch_size: want a whole number, not "many"`},
		{"fractional seed", tiny + "seed: 1.9\n", `14:7: seed: want a whole number, not 1.9`},
		{"missing plugin", swap("encoder: vit", "encoder: vitt"), `1:18: image.encoder: no encoder plugin "vitt"\n  hint: .*did you mean vit`},
		{"wrong kind", swap("plugin: clip", "plugin: vit"), `3:16: loss.plugin: vit is an encoder, want a loss`},
		{"embed_dim mismatch", swap("width: 16, layers: 1, heads", "width: 16, embed_dim: 32, layers: 1, heads"), `2:59: text.with.embed_dim: 32, but embed_dim is 16`},
		{"patch does not divide", swap("patch_size: 8", "patch_size: 5"), `1:42: image.with.image_size: image_size 16 is not a multiple of patch_size 5`},
		{"absent root", swap("split: train", "root: nowhere"), `6:40: data.train.with.root: nowhere does not exist`},
		{"zero batch", swap("batch_size: 16", "batch_size: 0"), `10:15: train.batch_size: 0 is less than 2`},
		{"large batch", swap("batch_size: 16", "batch_size: 1000"), `10:15: train.batch_size: 1000 is more than the 924 samples`},
		{"unknown device", swap("device: host", "device: gpu"), `13:9: device: unknown device "gpu"`},
		{"bad template", swap("an emoji of {}", "an emoji"), `8:83: eval\[0\].zero_shot.templates\[0\]: "an emoji" has 0 places`},
		{"circular extends", "extends: [bad.yaml]\n", `1:11: extends: circular`},
		{"duplicate key", tiny + "device: cpu\n", `14:1: device: duplicate key`},
		{"two at once", swap("batch_size: 16", "batch_sizes: 16") + "seed: x\n", `10:3: train.batch_sizes: (?s:.*)14:7: seed: `},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, dir := start(t, c.spec)
			if r.code != 2 {
				t.Errorf("exit code %d, want 2", r.code)
			}
			if !regexp.MustCompile(`(?m)^bad.yaml:` + c.want).MatchString(r.stderr) {
				t.Errorf("stderr has no %q:\n%s", c.want, r.stderr)
			}
			if !strings.Contains(r.stderr, "\n  hint: ") {
				t.Errorf("no hint:\n%s", r.stderr)
			}
			if exists(filepath.Join(dir, "results")) {
				t.Error("results were made")
			}
			if exists(mark) {
				t.Error("a plugin was started")
			}
		})
	}
	if start(t, tiny); !exists(mark) {
		t.Error("the traps do not work: a good spec started no plugin")
	}
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// The shipped experiments fit the shipped plugins' settings.
func TestExperimentsAreValid(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, ".local/share/tandem/emoji"), 0o755); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../experiments/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d experiments (%v)", len(files), err)
	}
	for _, file := range files {
		file, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		args := []string{"explain", file}
		if filepath.Base(file) == "fashion-mnist.yaml" { // its default folder need not be on this machine
			args = append(args, "--set", "data.train.with.root="+dir, "--set", "eval.0.with.root="+dir)
		}
		out := must(t, dir, args...)
		if !strings.Contains(out, "# 1 trial, identity ") && !strings.Contains(out, "), compared by eval/emoji/top1") {
			t.Errorf("%s: %s", file, out)
		}
	}
}

// A sweep's trials are listed with all their names, its faults found in every cell; bench and profile take the spec without its block.
func TestExplainListsTheTrialsOfASweep(t *testing.T) {
	dir := t.TempDir()
	block := "ablate:\n  design: one-at-a-time\n  baseline: {lr: base, smooth: none}\n  factors:\n    lr: {base: {}, high: {train.lr: 0.01}}\n" +
		"    smooth: {none: {}, zero: {loss.with.label_smoothing: %s}}\n  seeds: [0, 3]\n"
	write(t, dir, "sweep.yaml", tiny+fmt.Sprintf(block, "0"))
	write(t, dir, "bad.yaml", tiny+fmt.Sprintf(block, "none"))
	out := must(t, dir, "explain", "sweep.yaml")
	for _, want := range []string{"# 4 trials (one-at-a-time), compared by eval/", "baseline = smooth=zero", "lr=high", "train.lr=0.01"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	var trials []struct {
		ID    string
		Seed  uint64
		Cells []struct {
			Variant   string
			Levels    map[string]string
			Overrides []struct {
				Key   string
				Value any
			}
		}
	}
	if err := json.Unmarshal([]byte(must(t, dir, "explain", "sweep.yaml", "--trials", "--json")), &trials); err != nil {
		t.Fatal(err)
	}
	if len(trials) != 4 || trials[3].Seed != 3 || trials[3].Cells[0].Levels["lr"] != "high" || trials[3].Cells[0].Overrides[0].Value != 0.01 {
		t.Errorf("trials are %+v", trials)
	}
	if !strings.Contains(out, trials[0].ID) {
		t.Errorf("the table does not have id %s", trials[0].ID)
	}
	if r := try(t, dir, "explain", "bad.yaml"); r.code != 2 || !strings.Contains(r.stderr, "label_smoothing: want a number") {
		t.Errorf("a bad level: exit code %d, %s", r.code, r.stderr)
	}
	must(t, dir, "bench", "sweep.yaml", "--steps", "1", "--warmup", "0")
}

func TestUsageFaults(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny)
	for want, args := range map[string][]string{
		"did you mean list":     {"lisst"},
		"unknown flag":          {"list", "--jsn"},
		"which spec":            {"run"},
		"accepts 1 arg":         {"show"},
		"at least two classes":  {"zeroshot", "latest", "x.png"},
		"0 places":              {"zeroshot", "latest", "x.png", "--labels", "a,b", "--template", "x"},
		"x.png":                 {"zeroshot", "latest", "x.png", "--labels", "a,b"},
		"no value":              {"explain", "tiny.yaml", "--set", "seed"},
		"goes on as it began":   {"run", "--resume", "--set", "seed=1"},
		"no run":                {"run", "--resume"},
		"results/results.db":    {"show", "latest"},
		"no plugin \"nothing\"": {"plugin", "describe", "nothing"},
	} {
		r := try(t, dir, args...)
		if r.code != 2 || !strings.Contains(r.stderr, want) {
			t.Errorf("runner %v: exit code %d, stderr %q, want 2 and %q", args, r.code, r.stderr, want)
		}
	}
}

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

// waitFor waits for what is to come. The time limit of all tests decides that it never does, and no clock of this
// one's: a machine may be busy.
func waitFor(t *testing.T, ready func() bool) {
	t.Helper()
	for end, limited := t.Deadline(); !ready(); time.Sleep(10 * time.Millisecond) {
		if limited && time.Until(end) < 20*time.Second {
			t.Fatal("waited in vain")
		}
	}
}

func signal(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if pid < 2 {
		t.Fatalf("pid %d", pid)
	}
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
}

// bench carries everything that it prints as JSON too.
func TestBench(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny)
	var b struct {
		StepMS     float64 `json:"step_ms"`
		ImagesPerS float64 `json:"images_per_s"`
		Parameters int64   `json:"parameters"`
		OverheadMS float64 `json:"overhead_ms"`
		PeakGFLOPS float64 `json:"peak_gflops"`
		PeakShare  float64 `json:"peak_share"`
		StepGFLOP  float64 `json:"step_gflop"`
		Steps      int     `json:"steps"`
		Breakdown  []struct {
			Part    string  `json:"part"`
			MS      float64 `json:"ms"`
			Waiting bool    `json:"waiting"`
		} `json:"breakdown"`
	}
	if err := json.Unmarshal([]byte(must(t, dir, "bench", "tiny.yaml", "--json", "--steps", "4", "--warmup", "1")), &b); err != nil {
		t.Fatal(err)
	}
	if b.StepMS <= 0 || b.ImagesPerS <= 0 || b.Parameters == 0 || b.Steps != 4 || b.PeakGFLOPS <= 0 || b.OverheadMS <= 0 {
		t.Errorf("%+v", b)
	}
	if b.StepGFLOP <= 0 || b.PeakShare <= 0 {
		t.Errorf("%g GFLOP a step, %g of the peak", b.StepGFLOP, b.PeakShare)
	}
	// How the times compare is no matter here: medians of few steps on a busy machine compare as they like.
	parts := map[string]bool{}
	for _, c := range b.Breakdown {
		parts[c.Part] = true
		if strings.HasSuffix(c.Part, "ward") && c.MS <= 0 {
			t.Errorf("%s took %g ms", c.Part, c.MS)
		}
	}
	if len(parts) < 5 || len(parts) != len(b.Breakdown) {
		t.Errorf("the parts are %+v", b.Breakdown)
	}
	if _, err := os.Stat(filepath.Join(dir, "results")); err == nil {
		t.Error("bench left results")
	}
}
