package main_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// shardSpec describes a run on shards that webdataset and img2dataset wrote, with pictures of every awkward kind among them.
func shardSpec(t *testing.T) string {
	t.Helper()
	folder, err := filepath.Abs("../../core/data/shard/testdata")
	if err != nil {
		t.Fatal(err)
	}
	data := fmt.Sprintf(`{dataset: webdataset, with: {shards: ["%[1]s/written-{000000..000001}.tar", %[1]s/packed.tar.gz, %[1]s/img2dataset, %[1]s/pictures.tar]}, augment: {random_resized_crop: {scale: [.5, 1]}}}
  max_bad_share: 0.5`, folder)
	spec := strings.Replace(tiny, "{dataset: emoji, with: {split: train}}", data, 1)
	from, to := strings.Index(spec, "eval:"), strings.Index(spec, "train:\n")
	return strings.Replace(spec[:from]+spec[to:], "batch_size: 16", "batch_size: 8", 1)
}

// Every record that cannot be used is in the database by its reason; the rest trains, and whoever reads it, with however many
// workers, sees the same.
func TestShardsTrainThrough(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "shards.yaml", shardSpec(t))
	id := strings.TrimSpace(must(t, dir, "run", "shards.yaml", "-q", "--set", "data.workers=1"))
	got := must(t, dir, "query", "--csv", "select stage, reason, case stage when 'refused' then n end as n from v_skips order by stage, reason")
	want := `stage,reason,n
refused,empty picture,1
refused,no caption,3
refused,not UTF-8,1
replaced,corrupt picture,
replaced,too many pixels,
replaced,truncated picture,
replaced,unsupported picture,
`
	if got != want {
		t.Errorf("%s", got)
	}
	if first := must(t, dir, "query", "--csv", "select first from v_skips where reason = 'truncated picture'"); !strings.Contains(first, "pictures.tar: member c-truncated.jpg: jpeg: truncated") {
		t.Errorf("%s", first)
	}
	other := strings.TrimSpace(must(t, dir, "run", "shards.yaml", "-q", "--set", "data.workers=8"))
	if !slices.Equal(lossesOf(t, dir, 24, id), lossesOf(t, dir, 24, other)) {
		t.Error("8 workers give other batches than 1")
	}
	r := try(t, dir, "run", "shards.yaml", "-q", "--set", "data.train.with.on_error=fail")
	if r.code != 1 || !strings.Contains(r.stderr, "img2dataset/00000.tar: ") || !strings.Contains(r.stderr, "member 000000003.jpg: its sample has none in ") {
		t.Errorf("on_error: fail: %d, %s", r.code, r.stderr)
	}
}

// A run that is killed goes on with the samples that it would have seen, in their order.
func TestShardsAreReadOnAfterAKill(t *testing.T) {
	for _, shuffle := range []string{"global", "shards"} {
		calm, dir := t.TempDir(), t.TempDir()
		const steps = 100
		args := []string{"run", "shards.yaml", "-q", "--set", fmt.Sprint("train.max_steps=", steps), "--set", "data.train.shuffle=" + shuffle, "--set", "train.checkpoint_every=10"}
		if shuffle == "shards" {
			args = append(args, "--set", "data.train.shuffle_window=5")
		}
		for _, d := range []string{calm, dir} {
			write(t, d, "shards.yaml", shardSpec(t))
		}
		want := lossesOf(t, calm, steps, strings.TrimSpace(must(t, calm, args...)))
		cmd := command(t, dir, args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool {
			found, _ := filepath.Glob(filepath.Join(dir, "results/runs/*/checkpoints/step-*/state.json"))
			return len(found) > 0
		})
		signal(t, cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()                       // it was killed
		try(t, dir, "run", "--resume", "-q") // on a busy machine the run may have ended before
		id := strings.TrimSpace(strings.TrimPrefix(must(t, dir, "query", "--csv", "select run_id from v_runs"), "run_id\n"))
		if got := lossesOf(t, dir, steps, id); !slices.Equal(got, want) {
			t.Errorf("%s: after a kill %v, want %v", shuffle, got, want)
		}
	}
}
