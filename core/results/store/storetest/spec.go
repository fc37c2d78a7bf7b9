package storetest

import (
	"fmt"
	"strings"

	"tandem/core/results/store"
)

// plugins lists those of a run of the quickstart.
var plugins = []store.Plugin{
	{Role: "image", Name: "encoders/vit", Version: "1.0.0", SHA256: sha('1')},
	{Role: "text", Name: "encoders/transformer", Version: "1.0.0", SHA256: sha('2')},
	{Role: "loss", Name: "losses/clip", Version: "1.0.0", SHA256: sha('3')},
	{Role: "data.train", Name: "datasets/emoji", Version: "1.0.0", SHA256: sha('4')},
	{Role: "eval.emoji", Name: "datasets/emoji", Version: "1.0.0", SHA256: sha('4')},
}

func sha(digit rune) string { return strings.Repeat(string(digit), 64) }

var facts = map[string]any{
	"parameters.total": int64(1_234_567), "parameters.image": int64(823_000), "parameters.text": int64(411_566),
	"parameters.loss": int64(1), "flops.image": 1.1e9, "flops.text": 2.2e8,
}

// spec makes a resolved spec of the length and the number of keys of the quickstart's, nested as in YAML, and
// its text.
func spec(experiment string, c store.Cell) (map[string]any, string) {
	params := map[string]any{"name": experiment, "variant": c.Variant, "seed": c.Seed, "embed_dim": 128, "device": "auto", "threads": 0}
	for name, keys := range map[string][]string{
		"image": {"encoder", "with.act", "with.head_width", "with.image_size", "with.layers", "with.mean", "with.mlp_ratio", "with.patch_dropout", "with.patch_size", "with.pool_type", "with.std", "with.width"},
		"text":  {"encoder", "with.act", "with.causal", "with.context_length", "with.heads", "with.layers", "with.mlp_ratio", "with.pool_type", "with.tokenizer", "with.vocab_size", "with.width"},
		"loss":  {"plugin", "with.direction", "with.init_logit_scale", "with.init_temperature", "with.learnable", "with.max_logit_scale"},
		"data": {"train.dataset", "train.with.captions", "train.with.holdout", "train.with.holdout_style", "train.with.jitter", "train.with.label_share", "train.with.max_tags", "train.with.on_error", "train.with.split", "train.with.styles", "train.with.templates", "train.with.test_count",
			"train.augment.random_resized_crop.hflip", "train.augment.random_resized_crop.ratio", "train.augment.random_resized_crop.scale", "train.shuffle", "workers", "prefetch"},
		"eval.0": {"dataset", "with.captions", "with.holdout", "with.holdout_style", "with.label_share", "with.max_tags", "with.on_error", "with.split", "with.styles", "with.templates", "with.test_count", "name", "zero_shot.classes", "zero_shot.templates", "retrieval", "batch_size", "max_samples"},
		"train":  {"batch_size", "micro_batch_size", "epochs", "max_steps", "optimizer", "lr", "min_lr", "weight_decay", "decay_embeddings", "beta1", "beta2", "eps", "momentum", "schedule", "warmup_steps", "cooldown_steps", "max_grad_norm", "parallel_towers", "precision", "log_every", "eval_every", "checkpoint_every", "keep_checkpoints"},
	} {
		for i, key := range keys {
			switch i % 4 {
			case 0:
				params[name+"."+key] = "word " + key[max(0, len(key)-6):]
			case 1:
				params[name+"."+key] = 0.125 * float64(i)
			case 2:
				params[name+"."+key] = 16 * i
			default:
				params[name+"."+key] = []any{0.25, 1, "an emoji of {}"}
			}
		}
	}
	params["train.batch_size"] = 128
	params["loss.plugin"] = "loss-" + c.Levels["loss"]
	params["image.with.width"] = c.Levels["width"]
	params["train.lr"] = 1e-3
	var text strings.Builder
	fmt.Fprintf(&text, "name: %s\nvariant: %s\nseed: %d\n", experiment, c.Variant, c.Seed)
	for range 90 {
		text.WriteString("    max_logit_scale: 4.605170\n")
	}
	return params, text.String()
}
