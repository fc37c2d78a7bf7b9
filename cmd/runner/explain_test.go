package main_test

import (
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
	"testing"
)

// trapped makes a folder of plugins with the real ones' descriptors; they leave the file mark when they are started.
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
		if exists(filepath.Join(p, "plugin.py")) {
			continue // a script is described by starting it
		}
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

// The shipped experiments fit the shipped plugins' settings.
func TestExperimentsAreValid(t *testing.T) {
	dir := t.TempDir()
	for _, set := range []string{"emoji", "ifct", "minilm"} {
		if err := os.MkdirAll(filepath.Join(dir, ".local/share/tandem", set), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	teacher, err := os.ReadFile("../../core/experiment/train/testdata/openclip-vit.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, ".local/share/tandem/quickstart.safetensors", string(teacher)) // of losses.yaml
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
		if !strings.Contains(out, "# 1 trial, identity ") && !strings.Contains(out, "compared by eval/") && !strings.Contains(out, "# known before it begins: ") {
			t.Errorf("%s: %s", file, out)
		}
	}
}

// A sweep's trials are listed with all their names, its faults found in every cell; bench and profile take the spec without its block.
func TestExplainListsTheTrialsOfASweep(t *testing.T) {
	dir := t.TempDir()
	block := "ablate:\n  design: one-at-a-time\n  baseline: {lr: base, smooth: none}\n  factors:\n    lr: {base: {}, high: {train.lr: 0.01, train.layer_decay: {image: 0.5}}}\n" +
		"    smooth: {none: {}, zero: {loss.with.label_smoothing: %s}}\n  seeds: [0, 3]\n"
	write(t, dir, "sweep.yaml", tiny+fmt.Sprintf(block, "0"))
	write(t, dir, "bad.yaml", tiny+fmt.Sprintf(block, "none"))
	out := must(t, dir, "explain", "sweep.yaml")
	for _, want := range []string{"# 4 trials (one-at-a-time), compared by eval/", "baseline = smooth=zero", "lr=high", "train.lr=0.01", `train.layer_decay={"image":0.5}`} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	type override struct {
		Key   string
		Value any
	}
	var trials []struct {
		ID    string
		Seed  uint64
		Cells []struct {
			Variant   string
			Levels    map[string]string
			Overrides []override
		}
	}
	if err := json.Unmarshal([]byte(must(t, dir, "explain", "sweep.yaml", "--trials", "--json")), &trials); err != nil {
		t.Fatal(err)
	}
	if len(trials) != 4 || trials[3].Seed != 3 || trials[3].Cells[0].Levels["lr"] != "high" || !slices.ContainsFunc(trials[3].Cells[0].Overrides, func(o override) bool { return o.Value == 0.01 }) {
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
