package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
		"plugins/datasets/": {"../../plugins/datasets/..."},
		"plugins/encoders/": {"../../plugins/encoders/vit", "../../plugins/encoders/resnet-attnpool", "../../plugins/encoders/transformer", "../../plugins/encoders/bert"},
		"plugins/losses/":   {"../../plugins/losses/..."},
	} {
		if err := os.MkdirAll(filepath.Join(dir, target), 0o755); err != nil {
			return err
		}
		cmd := exec.Command("go", append([]string{"build", tags, "-o", filepath.Join(dir, target) + "/"}, source...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build %v: %w\n%s", source, err, out)
		}
	}
	return copyScripts(dir)
}

// copyScripts puts the plugins in Python where make plugins puts them.
func copyScripts(dir string) error {
	scripts, err := filepath.Glob("../../plugins/*/*/plugin.py")
	for _, script := range scripts {
		at := filepath.Join(dir, strings.TrimPrefix(filepath.Dir(script), "../../"))
		text, readErr := os.ReadFile(script)
		err = errors.Join(err, readErr, os.MkdirAll(at, 0o755), os.WriteFile(filepath.Join(at, "plugin.py"), text, 0o755))
	}
	return err
}

// result holds what a command did.
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

// must tries a command that has to succeed.
func must(t *testing.T, dir string, args ...string) string {
	t.Helper()
	r := try(t, dir, args...)
	if r.code != 0 {
		t.Fatalf("runner %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// tiny describes a run that takes a second or two on the pure Go backend.
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
