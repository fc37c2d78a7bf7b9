package main_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A loss that takes every input is trained with shipped encoders and data; the run is killed and goes on to the same
// bits; its towers are used without the teacher. What a spec lacks for it is said before anything starts.
func TestALossTakesEverything(t *testing.T) {
	root, dir := t.TempDir(), t.TempDir()
	if out, err := exec.Command("go", "build", "-tags=", "-o", filepath.Join(root, "losses/everything"), "./testdata/everything").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	start := func(args ...string) *exec.Cmd {
		cmd := command(t, dir, args...)
		cmd.Env = append(cmd.Env, "RUNNER_PLUGIN_PATH="+root)
		return cmd
	}
	write(t, dir, "teacher.yaml", tiny)
	teacher := strings.TrimSpace(must(t, dir, "run", "teacher.yaml", "-q", "--set", "train.max_steps=2"))
	spec := strings.NewReplacer("loss: {plugin: clip}", `loss: {plugin: everything}
teacher:
  image: {encoder: vit, with: {image_size: 16, patch_size: 8, width: 16, layers: 1, head_width: 16}}
  text: {encoder: transformer, with: {width: 16, layers: 1, heads: 1, context_length: 12, vocab_size: 600}}
  init: {weights: results/runs/`+teacher+`/checkpoints/step-00000002}`,
		"train: {dataset: emoji, with: {split: train}}", "train: {dataset: emoji, with: {split: train, negatives: 2}, augment: random_resized_crop}",
		"max_steps: 24", "max_steps: 12", "batch_size: 16", "batch_size: 16\n  micro_batch_size: 8\n  log_every: 1").Replace(tiny)
	write(t, dir, "all.yaml", spec)
	for change, said := range map[string]string{
		"data.train.with.negatives=0":       "datasets/emoji is set to give none",
		"teacher.image.encoder=transformer": "teacher.image.encoder",
		"image.encoder=resnet-attnpool":     "image.encoder: losses/everything takes image_tokens, and encoders/resnet-attnpool has no tokens",
		"loss.plugin=clip":                  "teacher.image: nothing uses it",
		"data.train.dataset=fashion-mnist":  "datasets/fashion-mnist has no negatives",
		"teacher.image.with.image_size=32":  "the teacher takes pictures of 32 pixels, and the model's image tower of 16",
		"data.train.augment=none":           "every view of a picture is the same",
	} {
		if r := finish(t, start("run", "all.yaml", "-q", "--set", change)); r.code == 0 || !strings.Contains(r.stderr, said) {
			t.Errorf("%s: exit code %d\n%s", change, r.code, r.stderr)
		}
	}
	whole := finish(t, start("run", "all.yaml", "-q"))
	if whole.code != 0 {
		t.Fatalf("exit code %d\n%s", whole.code, whole.stderr)
	}
	id := strings.TrimSpace(whole.stdout)
	killAtCheckpoint(t, dir, start("run", "all.yaml", "-q"))
	again := finish(t, start("run", "--resume", "-q"))
	if again.code != 0 {
		t.Fatalf("exit code %d\n%s", again.code, again.stderr)
	}
	same(t, files(t, dir, id, 12), files(t, dir, strings.TrimSpace(again.stdout), 12))
	if a, b := curves(t, dir, id), curves(t, dir, strings.TrimSpace(again.stdout)); a != b {
		t.Errorf("the killed run has other numbers:\n%s\n%s", a, b)
	}
	for _, part := range []string{"views", "teacher", "tokens"} {
		if !strings.Contains(curves(t, dir, id), "train/loss/"+part) {
			t.Errorf("no metric of the part %s", part)
		}
	}
	write(t, dir, "labels.txt", "cat\ndog\n")
	if r := finish(t, start("embed", "--run", id, "--texts", "labels.txt", "--out", "texts.safetensors")); r.code != 0 {
		t.Errorf("embed: %s", r.stderr)
	}
}
