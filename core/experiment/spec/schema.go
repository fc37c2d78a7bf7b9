package spec

import "tandem/core/clip"

// Types of keys beyond those of a with block.
const (
	typeSection  clip.FieldType = "map"
	typeSections clip.FieldType = "list of maps"
	typeWith     clip.FieldType = "plugin settings"
	typePlugin   clip.FieldType = "plugin"
	typeAugment  clip.FieldType = "augmentation"
	typeInterval clip.FieldType = "steps or epochs"
	typeFreeze   clip.FieldType = "none, all or a map"
	typeDevice   clip.FieldType = "device"
	typeLines    clip.FieldType = "list of texts or {file: PATH}"
	typeMemory   clip.FieldType = "bytes or share"
	typeTimeout  clip.FieldType = "a time"
	typeByTower  clip.FieldType = "a number or {image, text}"
	typeAblate   clip.FieldType = "ablations"
	typeMixture  clip.FieldType = "map or list of maps"
	typeShuffle  clip.FieldType = "true, false, global or shards"
	typeReport   clip.FieldType = "list of trackers"
	typeSwitch   clip.FieldType = "auto, true or false"

	// Of the block ablate.
	typeFactors     clip.FieldType = "factors"
	typeLevels      clip.FieldType = "levels of factors"
	typeAssignments clip.FieldType = "list of levels of factors"
	typeRetries     clip.FieldType = "a number or a map"
	typeBackoff     clip.FieldType = "a duration"
)

// Key describes one key of a spec. The same table checks specs, gives the defaults and is printed in
// docs/spec.md.
type Key struct {
	clip.Field
	// Sub lists the keys of a map, or of each element of a list of maps. Of a key that may be either, Alone lists those of
	// the map.
	Sub, Alone []Key
	// Kind and Modality say which plugins a key of type plugin names.
	Kind     clip.Kind
	Modality clip.Modality
	// Optional marks a map or a list of them that stays absent when it is left out, instead of being filled with defaults.
	Optional bool
}

func ptr(v float64) *float64 { return &v }

func key(name string, t clip.FieldType, def any, help string) Key {
	return Key{Field: clip.Field{Name: name, Type: t, Default: def, Help: help}}
}

func (k Key) min(v float64) Key         { k.Min = ptr(v); return k }
func (k Key) max(v float64) Key         { k.Max = ptr(v); return k }
func (k Key) enum(values ...string) Key { k.Enum = values; return k }
func (k Key) required() Key             { k.Required = true; return k }
func (k Key) optional() Key             { k.Optional = true; return k }
func (k Key) of(elem clip.FieldType) Key {
	k.Elem = elem
	return k
}

func section(name, help string, sub ...Key) Key {
	return Key{Field: clip.Field{Name: name, Type: typeSection, Help: help}, Sub: sub}
}

func plugin(name string, kind clip.Kind, m clip.Modality, help string) Key {
	return Key{Field: clip.Field{Name: name, Type: typePlugin, Required: true, Help: help}, Kind: kind, Modality: m}
}

const maxInt = 1 << 40 // keeps every count far from overflow in any product taken of it

var with = key("with", typeWith, nil, "the plugin's own settings; `runner plugin describe NAME` lists them")

var freeze = key("freeze", typeFreeze, "none", "what is not trained: `none`, `all` (locked tuning), `{blocks: 6}` (the stem and the first 6 blocks; `-1`: all but the last) or `{params: [\"visual.ln_*\"]}` (globs of parameter names)")

var where = key("device", typeDevice, nil, "where this part computes; left out: `device` below")

// Keys lists the keys of a spec in the order of its documentation.
var Keys = []Key{
	key("extends", clip.TypeList, nil, "spec files to start from, in order, relative to this file").of(clip.TypeString),
	key("name", clip.TypeString, nil, "the experiment; the file's name without its ending when left out"),
	key("description", clip.TypeString, "", "for people; not part of the run's identity"),
	key("variant", clip.TypeString, "", "the cell of a comparison that this run belongs to"),
	key("python", clip.TypePath, nil, "the interpreter of plugins in Python; left out: [the nearest](plugins.md#in-python)"),
	key("model", clip.TypeString, nil, "a published model, as `runner models` names them: ViT-B-32, ViT-B-16-SigLIP. It gives image, text, loss and embed_dim what the spec leaves out of them; a section that names another plugin is left alone"),
	section("image", "the image tower",
		plugin("encoder", clip.KindEncoder, clip.Image, "image encoder plugin: `vit`, `encoders/vit` or a path"), with, freeze, lora, where),
	section("text", "the text tower",
		plugin("encoder", clip.KindEncoder, clip.Text, "text encoder plugin"), with, freeze, lora, where),
	lossKey,
	section("init", "where the parameters start",
		key("weights", clip.TypePath, "", "published weights (.safetensors, or PyTorch's .pt and .bin: OpenCLIP's, OpenAI's or transformers' names) or a checkpoint folder; empty: random, by the seed"),
		key("towers", clip.TypeList, []any{"image", "text"}, "which towers take them; the loss does when both do").of(clip.TypeString).enum("image", "text")),
	teacher,
	key("embed_dim", clip.TypeInt, int64(512), "width of the shared space; a tower's `with.embed_dim` must agree").min(1).max(1 << 20),
	section("data", "what is trained on",
		trainKey,
		key("epoch_samples", clip.TypeInt, nil, "samples that count as one epoch, for everything that is counted in epochs; left out: as many as the training data has, of all sources together").min(1).max(maxInt),
		section("cache", "training pictures are kept decoded on disk, so that later epochs and runs need not decode them; left out: none are",
			key("format", clip.TypeString, nil, "`raw`: as decoded, 3 bytes a pixel, for the same bits as without; `jpeg`: scaled down and packed, which loses a little").enum("raw", "jpeg").required(),
			key("max", typeMemory, "20 GiB", "how much of the disk all kept pictures may take together")).optional(),
		key("max_bad_share", clip.TypeFloat, 0.05, "share of the training samples that cannot be read, and of refused records, beyond which the run ends; up to it other samples take their place, counted and said").min(0).max(1),
		key("workers", clip.TypeInt, int64(0), "threads that decode pictures; 0 chooses").min(0).max(1024),
		key("prefetch", clip.TypeInt, int64(2), "batches prepared ahead of the step").min(0).max(64)),
	{Field: clip.Field{Name: "eval", Type: typeSections, Help: "what is measured during and after training"}, Sub: evalKeys},
	section("train", "the recipe",
		key("batch_size", clip.TypeInt, int64(128), "pairs in one contrastive batch").min(2).max(1<<20),
		key("micro_batch_size", clip.TypeInt, int64(0), "pairs per forward pass, a divisor of the batch; the gradient stays that of the whole batch; 0: the batch").min(0).max(1<<20),
		key("epochs", clip.TypeFloat, float64(0), "passes over the training samples; 0: no such limit").min(0).max(1e9),
		key("max_steps", clip.TypeInt, int64(0), "optimiser steps; 0: no such limit; with epochs too, the first reached ends the run").min(0).max(maxInt),
		key("optimizer", clip.TypeString, "adamw", "").enum("adamw", "sgd", "lion"),
		key("lr", clip.TypeFloat, nil, "peak learning rate; adamw 5e-4, lion 1e-4, sgd 0.1").min(0).max(1e3),
		key("min_lr", clip.TypeFloat, float64(0), "where the schedule ends").min(0).max(1e3),
		key("weight_decay", clip.TypeFloat, 0.2, "decoupled; parameters of under two dimensions are exempt").min(0).max(1e3),
		key("decay_embeddings", clip.TypeBool, true, "false exempts positional and class embeddings too"),
		Key{Field: clip.Field{Name: "groups", Type: typeSections, Help: "parameters with a learning rate, a weight decay or a start of their own"}, Sub: groupKeys, Optional: true},
		key("layer_decay", typeByTower, nil, "layer l of a tower with L blocks learns at lr · layer_decay^(L+1−l): the stem is layer 0, what follows the blocks L+1; left out: all at lr").min(0).max(1),
		key("ema", clip.TypeFloat, nil, "keeps an average of the towers' parameters, average ← ema · average + (1 − ema) · parameter after every step, evaluated and exported beside them; left out: none").min(0).max(0.9999999),
		key("beta1", clip.TypeFloat, 0.9, "").min(0).max(0.9999999),
		key("beta2", clip.TypeFloat, nil, "adamw 0.98, lion 0.99").min(0).max(0.9999999),
		key("eps", clip.TypeFloat, 1e-6, "adamw").min(0).max(1),
		key("momentum", clip.TypeFloat, 0.9, "sgd").min(0).max(0.9999999),
		key("schedule", clip.TypeString, "cosine", "learning rate after warm-up").enum("cosine", "constant", "linear", "cooldown"),
		key("warmup_steps", clip.TypeInt, int64(0), "steps of linear rise from 0 to lr").min(0).max(maxInt),
		key("cooldown_steps", clip.TypeInt, int64(0), "steps of linear fall to min_lr at the end; schedule cooldown only").min(0).max(maxInt),
		key("max_grad_norm", clip.TypeFloat, float64(0), "clips the norm over both towers and the loss; 0: no clipping").min(0).max(1e9),
		key("parallel_towers", typeSwitch, string(Auto), "both towers compute at the same time; false: one after the other, each with all threads; auto: one after the other where both share at most two cores"),
		key("colocate", typeSwitch, string(Auto), "towers and loss in one process, with the same numbers; auto: where they are plugins in Go of one build and share a GPU; true: on any device they share, or the run does not begin; false: a process each"),
		key("precision", clip.TypeString, "f32", "bf16 rounds the inputs of the towers' matrix products and convolutions to bfloat16, tf32 (NVIDIA GPUs) to ten bits of significand; parameters, sums, norms, loss and optimiser stay float32, attention too but for bf16 on NVIDIA GPUs; a processor without products of bfloat16 (AVX512_BF16) is refused, unless bf16-emulated asks for its numbers, which then take more time than f32").enum("f32", "tf32", "bf16", "bf16-emulated"),
		key("activation_checkpointing", clip.TypeBool, false, "the towers' blocks are computed again in the backward pass instead of being kept: the same bits in less memory, for up to a third more time"),
		key("sync_norm", clip.TypeBool, nil, "batch normalisation takes all pairs of a step as one, instead of each micro-batch of each rank; then micro-batches save no memory in the image tower; one rank with one micro-batch computes the same bits with and without; left out: false"),
		key("deduplicate_captions", clip.TypeBool, nil, "captions of a micro-batch that are equal are computed once, and their gradients are added up before the text tower's backward pass: the same loss and gradient up to the order of sums, which changes bits, in less time where captions repeat (classes and templates); a text tower with dropout draws once for all of them; left out: false"),
		key("feature_cache", clip.TypeString, "auto", "features of wholly frozen towers are kept on disk across epochs and runs where nothing changes them; off: computed every time").enum("auto", "off"),
		key("log_every", clip.TypeInt, int64(1), "steps between the training metrics that are recorded").min(1).max(maxInt),
		key("eval_every", typeInterval, int64(0), "`200` steps or `1 epoch`; 0: at the end only"),
		key("eval_device", typeDevice, nil, "evaluates while training goes on, in processes of their own on this device (`auto`: where the towers compute), with the same figures; left out: training waits for its evaluations"),
		key("checkpoint_every", typeInterval, int64(500), "likewise; 0: at the end and on Ctrl-C only"),
		key("keep_checkpoints", clip.TypeInt, int64(1), "how many of the newest stay on disk").min(1).max(maxInt)),
	key("device", typeDevice, "auto", "`auto` (a GPU when one can be used, else cpu), `cpu`, `host` (the pure Go reference) or `cuda:N`"),
	key("device_memory", typeMemory, nil, "what the towers and the loss may take together of a GPU's memory: `20 GiB`, or `50%`; left out: nearly all that is free"),
	key("threads", clip.TypeInt, int64(0), "compute threads over all plugins; 0: all cores").min(0).max(4096),
	key("seed", clip.TypeInt, int64(0), "of every random stream").min(0).max(1 << 53),
	section("timeouts", "how long calls of plugins may take before the plugin is ended and the run fails, to be gone on with by `--resume`: seconds, or `90 s`, `10 min`, `1 h`; 0: no limit",
		key("start", typeTimeout, nil, "until a plugin can be called; left out: 1 min"),
		key("configure", typeTimeout, nil, "Configure, Captions, CountTokens: opening the data, training a tokenizer; left out: 30 min"),
		key("batch", typeTimeout, nil, "a batch of a dataset; left out: 10 min"),
		key("compute", typeTimeout, nil, "Forward, Backward, Compute, Step; left out: 30 min"),
		key("file", typeTimeout, nil, "Save, Load; left out: 30 min"),
		key("ask", typeTimeout, nil, "Describe, Plan, Memory, Profile; left out: 1 min")).optional(),
	section("plugins", "what plugins may do to the machine; left out: all that you may",
		key("sandbox", clip.TypeString, "off", "strict: a plugin reads only itself, the system's libraries, the paths of its settings and the weights, writes only its own temporary files and what it is told to save, and has no network (Linux 5.13 or later)").enum("off", "strict"),
		key("read", clip.TypeList, []any{}, "further files and folders that plugins in the sandbox may read").of(clip.TypePath),
		key("memory", typeMemory, nil, "what the processes of one plugin may take together of the machine's memory, beside what the runner shares with them: `8 GiB`, or `50%`; left out: no limit"),
		key("processes", clip.TypeInt, int64(0), "how many processes one plugin may have at a time; 0: 1000 in the sandbox, else no limit").min(0).max(1<<20),
		key("cores", clip.TypeInt, int64(0), "how many processors the processes of one plugin may use; 0: all").min(0).max(4096),
		key("log_limit", typeMemory, nil, "how much of a plugin's log is kept, its beginning and its end; left out: 5 MiB")).optional(),
	reportKey,
	key("ablate", typeAblate, nil, "a sweep over variants of this spec: [Ablations](#ablations)"),
}

// optimizerDefaults holds the values that depend on train.optimizer: those of Radford et al. 2021 for AdamW, of
// Chen et al. 2023 (arXiv 2302.06675) for Lion.
var optimizerDefaults = map[string]map[string]float64{
	"adamw": {"lr": 5e-4, "beta2": 0.98},
	"lion":  {"lr": 1e-4, "beta2": 0.99},
	"sgd":   {"lr": 0.1, "beta2": 0.98},
}

// towerWidth describes embed_dim in the with block of a tower.
var towerWidth = clip.Field{Name: "embed_dim", Type: clip.TypeInt, Min: ptr(1)}

// rangeKey returns a key whose value is a list of two numbers.
func rangeKey(name string, min, max, low, high float64, help string) Key {
	k := key(name, clip.TypeList, []any{low, high}, help).of(clip.TypeFloat).min(min).max(max)
	k.Len = 2
	return k
}
