package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// otherClip puts another version of losses/clip, the same program with a byte more, into a folder of plugins of dir.
func otherClip(t *testing.T, dir string) (plugins, path string) {
	t.Helper()
	code, err := os.ReadFile(filepath.Join(filepath.Dir(runner), "plugins", "losses", "clip"))
	if err != nil {
		t.Fatal(err)
	}
	plugins = filepath.Join(dir, "other")
	path = filepath.Join(plugins, "losses", "clip")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(code, 0), 0o755); err != nil {
		t.Fatal(err)
	}
	return plugins, path
}

func TestALockTellsAndRefusesOtherPlugins(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "tiny.yaml", tiny)
	short := []string{"run", "tiny.yaml", "-q", "--set", "train.max_steps=1", "--set", "eval=[]"}
	if r := try(t, dir, append(short, "--locked")...); r.code != 2 || !strings.Contains(r.stderr, "runner plugin lock SPEC") {
		t.Errorf("without a lock: %d, %s", r.code, r.stderr)
	}
	must(t, dir, "plugin", "lock", "tiny.yaml")
	text, err := os.ReadFile(filepath.Join(dir, "runner.lock"))
	if err != nil || strings.Count(string(text), "sha256:") != 4 {
		t.Fatalf("the lock is\n%s, %v", text, err)
	}
	must(t, dir, append(short, "--locked")...)
	if r := try(t, dir, "plugin", "verify", "tiny.yaml"); r.code != 0 || strings.Count(r.stdout, " same ") != 4 {
		t.Errorf("verify: %d, %s%s", r.code, r.stdout, r.stderr)
	}

	plugins, path := otherClip(t, dir)
	changed := func(args ...string) result {
		cmd := command(t, dir, args...)
		cmd.Env = append(cmd.Env, "RUNNER_PLUGIN_PATH="+plugins)
		return finish(t, cmd)
	}
	if r := changed("plugin", "verify", "tiny.yaml"); r.code != 1 || !strings.Contains(r.stdout, "changed") {
		t.Errorf("verify with another plugin: %d, %s", r.code, r.stdout)
	}
	if r := changed(append(short, "--locked")...); r.code != 1 || !strings.Contains(r.stderr, "loss.plugin: losses/clip") || strings.Count(r.stderr, "sha256") != 2 {
		t.Errorf("--locked with another plugin: %d, %s", r.code, r.stderr)
	}
	told := strings.Replace(strings.Join(short, " "), "-q", "--no-progress", 1)
	if r := changed(strings.Fields(told)...); r.code != 0 || strings.Count(r.stderr, "--locked refuses it") != 1 {
		t.Errorf("without --locked: %d, %s", r.code, r.stderr)
	}
	if r := try(t, dir, append(short, "--locked", "--dev-plugin", "losses/clip="+path)...); r.code != 2 {
		t.Errorf("--locked with a file that stands in: %d, %s", r.code, r.stderr)
	}
	changed("plugin", "lock", "tiny.yaml")
	if r := changed(append(short, "--locked")...); r.code != 0 {
		t.Errorf("locked anew: %d, %s", r.code, r.stderr)
	}
}
