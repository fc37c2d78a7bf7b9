package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Without Go, a compiler or the usual tools there is one sentence with the command that installs them, for every target.
func TestMakeSaysWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	for _, tool := range []string{"make", "sh"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Skip("no ", tool)
		}
		if err := os.Symlink(path, filepath.Join(dir, tool)); err != nil {
			t.Fatal(err)
		}
	}
	for _, target := range []string{"demo", "test", "build", "install"} {
		c := exec.Command(filepath.Join(dir, "make"), "--no-print-directory", target)
		c.Dir, c.Env = "../..", []string{"PATH=" + dir, "HOME=" + dir}
		out, err := c.CombinedOutput()
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		if err == nil || len(lines) != 2 || !strings.Contains(lines[0], "lacks Go 1.26 or newer and a C compiler") || !strings.Contains(lines[0], "install with: ") ||
			!strings.HasPrefix(lines[1], "make: ***") {
			t.Errorf("make %s: %v\n%s", target, err, out)
		}
	}
	old := filepath.Join(dir, "go")
	if err := os.WriteFile(old, []byte("#!/bin/sh\necho go version go1.19.8 linux/amd64\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("sh", "../../tools/need.sh")
	c.Env = append(os.Environ(), "GO="+old)
	if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "Go 1.26 or newer (this is 1.19.8)") || strings.Count(string(out), "\n") != 1 {
		t.Errorf("an old Go: %v\n%s", err, out)
	}
	if out, err := exec.Command("sh", "../../tools/need.sh").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("with all there: %v\n%s", err, out)
	}
}

// Shells complete runs, keys, metrics, statuses and plugins; slips are named.
func TestWordsAreCompletedAndSlipsNamed(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny)
	id := strings.TrimSpace(must(t, dir, "run", "tiny.yaml", "-q", "--set", "train.max_steps=1", "--set", "eval=[]"))
	for want, words := range map[string][]string{
		id:                    {"show", ""},
		"image.with.width=":   {"run", "tiny.yaml", "--set", ""},
		"train.lr=":           {"run", "none.yaml", "--set", ""},
		"train/loss":          {"leaderboard", "--metric", ""},
		"interrupted":         {"list", "--status", ""},
		"losses/clip":         {"plugin", "describe", ""},
		"tiny":                {"report", ""},
		"tensorboard":         {"run", "tiny.yaml", "--report", ""},
		"ShellCompDirectiveF": {"explain", ""},
	} {
		r := try(t, dir, append([]string{"__complete"}, words...)...)
		if !strings.Contains(r.stdout+r.stderr, want) {
			t.Errorf("%q: %s%s, want %q", words, r.stdout, r.stderr, want)
		}
	}
	for want, words := range map[string][]string{
		"did you mean done?":       {"list", "--status", "doen"},
		"did you mean tiny?":       {"list", "--experiment", "tiyn"},
		"there is no variant":      {"list", "--variant", "x"},
		"did you mean variant?":    {"query", "select varaint from v_runs"},
		"did you mean v_runs?":     {"query", "select * from v_run"},
		"did you mean latest?":     {"show", "lates"},
		"did you mean --json?":     {"list", "--jsno"},
		"did you mean list?":       {"lst"},
		`is the end of 2 metrics`:  {"leaderboard", "--metric", "loss"},
		"did you mean train/loss?": {"leaderboard", "--metric", "train/los"},
	} {
		if r := try(t, dir, words...); r.code != 2 || !strings.Contains(r.stderr, want) {
			t.Errorf("%q: code %d, %s, want %q", words, r.code, r.stderr, want)
		}
	}
	if out := must(t, dir, "leaderboard", "--metric", "grad_norm/image", "--direction", "down"); !strings.Contains(out, id) {
		t.Errorf("the end of a metric's name: %s", out)
	}
	listed := command(t, t.TempDir(), "list")
	listed.Env = append(listed.Env, "RUNNER_DB="+filepath.Join(dir, "results/results.db"))
	if r := finish(t, listed); !strings.Contains(r.stdout, id) {
		t.Errorf("with RUNNER_DB: %s%s", r.stdout, r.stderr)
	}
}
