package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"
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

// build makes the runner and plugins with the tags of this test: oneDNN and CUDA or without. What make build left begins as a copy, which the
// go command links anew only where it is not up to date.
func build(dir string) error {
	flags := "-tags="
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "-tags" {
				flags += s.Value
			}
		}
	}
	const encoders = "../../plugins/encoders/"
	for target, source := range map[string][]string{
		"runner":            {"."},
		"plugins/datasets/": {"../../plugins/datasets/..."},
		"plugins/encoders/": {encoders + "vit", encoders + "resnet-attnpool", encoders + "transformer", encoders + "bert"},
		"plugins/losses/":   {"../../plugins/losses/..."},
	} {
		if err := linkPrograms(dir, target); err != nil {
			return err
		}
		cmd := exec.Command("go", append([]string{"build", flags, "-o", dir + "/" + target}, source...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build %v: %w\n%s", source, err, out)
		}
	}
	if err := buildColocated(dir, flags); err != nil {
		return err
	}
	return copyScripts(dir)
}

// buildColocated makes the program that serves several plugins, as make plugins does.
func buildColocated(dir, flags string) error {
	sources, err := os.MkdirTemp("", "tandem-colocated-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(sources)
	program := filepath.Join(dir, "plugins/colocated")
	for _, args := range [][]string{{"run", "./tools/colocated", sources},
		{"build", flags, "-overlay", filepath.Join(sources, "overlay.json"), "-o", program, "./plugins/colocated"}} {
		cmd := exec.Command("go", args...)
		cmd.Dir = "../.."
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go %v: %w\n%s", args, err, out)
		}
	}
	manifest, err := exec.Command(program, "--manifest").Output()
	return errors.Join(err, os.WriteFile(program+".json", manifest, 0o644))
}

// linkPrograms gives dir what make build made: a file, or those in a folder. The go command never writes into a file that is there.
func linkPrograms(dir, target string) error {
	if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(target)), 0o755); err != nil {
		return err
	}
	made, err := filepath.Glob("../../bin/" + target + "*")
	for _, file := range made {
		if info, statErr := os.Stat(file); statErr == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			_ = os.Link(file, filepath.Join(dir, filepath.Dir(target), filepath.Base(file))) // else it is made here
		}
	}
	return err
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
// one's: a machine may be busy. Asking takes a third of the time at most.
func waitFor(t *testing.T, ready func() bool) {
	t.Helper()
	for end, limited := t.Deadline(); ; {
		asked := time.Now()
		if ready() {
			return
		}
		if limited && time.Until(end) < 20*time.Second {
			t.Fatal("waited in vain")
		}
		time.Sleep(max(10*time.Millisecond, 2*time.Since(asked)))
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
