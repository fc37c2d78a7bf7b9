package main_test

import (
	"crypto/sha256"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// contents returns the digests of the files below a folder whose paths in it do not begin with a prefix.
func contents(t *testing.T, dir, without string) map[string][sha256.Size]byte {
	t.Helper()
	found := map[string][sha256.Size]byte{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasPrefix(path, without) {
			return err
		}
		text, err := os.ReadFile(filepath.Join(dir, path))
		found[path] = sha256.Sum256(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A task that is stopped for longer than its lease loses its trial to another one. When it goes on, it changes nothing of what that made.
func TestATaskThatWasStalledSpoilsNothing(t *testing.T) {
	dir, local := t.TempDir(), t.TempDir()
	one := strings.NewReplacer("max_steps: 24", "max_steps: 150", "checkpoint_every: 8", "checkpoint_every: 1").Replace(tiny)
	write(t, dir, "one.yaml", one)
	write(t, local, "one.yaml", one)
	must(t, dir, "submit", "one.yaml", "--kubernetes", "--image", "x", "--claim", "c", "--lease", "2s", "-o", "jobs.yaml")
	c := &cluster{t: t, dir: dir}
	bundle := c.status("one").Bundle

	stalled := command(t, dir, "task", bundle)
	var said strings.Builder
	stalled.Stderr = &said
	if err := stalled.Start(); err != nil {
		t.Fatal(err)
	}
	defer stalled.Process.Kill() // in vain when it has ended
	waitFor(t, func() bool { return c.status("one").Trials[0].Step > 2 })
	waitFor(t, func() bool { // in the middle of a checkpoint
		signal(t, stalled.Process.Pid, syscall.SIGSTOP)
		half, _ := filepath.Glob(filepath.Join(dir, "results/cluster/trials/*/*runs/*/checkpoints/*.tmp"))
		if len(half) == 0 {
			signal(t, stalled.Process.Pid, syscall.SIGCONT)
		}
		return len(half) > 0
	})
	waitFor(t, func() bool { must(t, dir, "task", bundle); return c.status("one").Counts["done"] == 1 })
	trial := c.status("one").Trials[0]
	if trial.Attempts != 2 || trial.History[0].End.Status != "lost" {
		t.Fatalf("the trial is %+v", trial)
	}
	trials := filepath.Join(dir, "results/cluster/trials", trial.Trial)
	before := contents(t, trials, "0001")
	signal(t, stalled.Process.Pid, syscall.SIGCONT)
	if err := stalled.Wait(); err != nil || !strings.Contains(said.String(), "the trial was taken over") || !strings.Contains(said.String(), "does not count") {
		t.Errorf("the stalled task: %v, %s", err, &said)
	}
	after := contents(t, trials, "0001")
	for path, sum := range before {
		if after[path] != sum {
			t.Errorf("%s is another file now, or gone", path)
		}
	}
	if len(before) < 5 || len(after) != len(before) {
		t.Errorf("there are %d files, %d before", len(after), len(before))
	}
	for path := range contents(t, trials, "0002") {
		if strings.Contains(path, "checkpoints") || strings.HasSuffix(path, ".db") {
			t.Errorf("%s is left over", path)
		}
	}

	must(t, dir, "merge", bundle)
	must(t, local, "run", "one.yaml")
	figures := "SELECT metric, last, n FROM v_final WHERE metric NOT IN ('train/data_wait_ms', 'train/samples_per_s') ORDER BY 1"
	for _, query := range []string{"SELECT variant, seed, status FROM v_runs", figures} {
		if got, want := must(t, dir, "query", "--csv", query), must(t, local, "query", "--csv", query); got != want {
			t.Errorf("%s\n got %s\nwant %s", query, got, want)
		}
	}
	must(t, dir, "eval", "latest", "--again")
}
