package main_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// alike makes a run on ranks, and one of a single rank in as many micro-batches, and demands losses of the same bits.
func alike(t *testing.T, spec string, ranks, batch, steps int, set ...string) {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "equal.yaml", spec)
	args := []string{"run", "equal.yaml", "-q"}
	for _, s := range append(set, fmt.Sprint("train.batch_size=", batch), fmt.Sprint("train.max_steps=", steps), "threads=1") {
		args = append(args, "--set", s)
	}
	r := finish(t, mpirun(t, dir, ranks, args...))
	if r.code != 0 {
		t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	many := stepLosses(t, dir, strings.TrimSpace(r.stdout))
	alone := must(t, dir, append(args, "--rerun", "--set", fmt.Sprint("train.micro_batch_size=", batch/ranks))...)
	one := stepLosses(t, dir, strings.TrimSpace(alone))
	if len(one) != steps || !slices.Equal(many, one) {
		t.Errorf("losses of %d ranks %v, of one rank %v", ranks, many, one)
	}
}

// A ResNet whose ranks normalise their batches together makes the run of one rank that takes them as micro-batches.
func TestTwoRanksNormaliseTogether(t *testing.T) {
	alike(t, tiny, 2, 16, 6, "image={encoder: resnet-attnpool, with: {image_size: 32, layers: [1, 1, 1, 1], width: 4, heads: 2}}", "train.sync_norm=true")
}

// alikeSpec is a small model at the learning rate of experiments/resnet.yaml.
const alikeSpec = `text: {encoder: transformer, with: {context_length: 16, vocab_size: 1024, width: 64, heads: 2, layers: 1}}
loss: {plugin: clip}
embed_dim: 64
data:
  train:
    dataset: emoji
    with: {split: train, holdout: style, holdout_style: twitter, test_count: 200, captions: label, jitter: 0.4}
    augment: {random_resized_crop: {scale: [0.6, 1]}}
train: {lr: 1e-3, weight_decay: 0.1, warmup_steps: 30, max_grad_norm: 1}
`

// 2 ranks of 64 pairs and 4 of 32 have the losses of one rank with 128 in as many micro-batches, over 50 steps: ViT, ResNet, and
// ResNet with synchronised batch norm, for each loss.
func TestRanksMakeTheRunOfOneRank(t *testing.T) {
	if os.Getenv("TANDEM_LONG") == "" {
		t.Skip("24 runs of 50 steps take three minutes: TANDEM_LONG=1")
	}
	const vit = "image={encoder: vit, with: {image_size: 32, patch_size: 8, width: 64, layers: 2, head_width: 32}}"
	const resnet = "image={encoder: resnet-attnpool, with: {image_size: 32, layers: [1, 1, 1, 1], width: 16}}"
	for name, set := range map[string][]string{
		"vit": {vit}, "resnet": {resnet}, "resnet with sync_norm": {resnet, "train.sync_norm=true"},
	} {
		for _, loss := range []string{"clip", "siglip"} {
			for _, ranks := range []int{2, 4} {
				t.Run(fmt.Sprintf("%s, %s, %d ranks", name, loss, ranks), func(t *testing.T) {
					alike(t, alikeSpec, ranks, 128, 50, append([]string{"loss.plugin=" + loss}, set...)...)
				})
			}
		}
	}
}
