package spec

import (
	"encoding/json"

	"tandem/core/clip"
)

// Spec holds a checked experiment: every default filled in, every plugin's settings valid.
type Spec struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Variant     string `json:"variant"`
	Model       string `json:"model"` // the published model that the towers and the loss begin with; "": none
	Image       Tower  `json:"image"`
	Text        Tower  `json:"text"`
	Losses      []Loss `json:"loss"` // at least one; the objective is the sum of all
	Init        Init   `json:"init"`
	// Teacher is nil when the spec has none.
	Teacher  *Teacher `json:"teacher"`
	EmbedDim int      `json:"embed_dim"`
	Data     Data     `json:"data"`
	Eval     []Eval   `json:"eval"`
	Train    Train    `json:"train"`
	Device   string   `json:"device"`
	// DeviceMemory limits the memory of each GPU for towers and loss together; the zero value means nearly all that is free.
	DeviceMemory Memory    `json:"device_memory"`
	Threads      int       `json:"threads"` // 0: all cores
	Seed         uint64    `json:"seed"`
	Python       string    `json:"python"`   // the interpreter of plugins in Python: an absolute path; "": the catalog finds one
	Timeouts     *Timeouts `json:"timeouts"` // nil: DefaultTimeouts
	Plugins      Guard     `json:"plugins"`
	Report       []Report  `json:"report"` // trackers that get the metrics too
	Ablate       *Ablate   `json:"-"`      // nil when the spec has none

	File string `json:"-"` // as given to Load

	tree    map[string]any
	origins map[string]Origin
}

// Tower names an encoder plugin and its settings.
type Tower struct {
	Encoder string          `json:"encoder"` // a bare name or an absolute path
	With    json.RawMessage `json:"with"`    // defaults of the plugin's schema filled in
	Freeze  clip.Freeze     `json:"freeze"`
	LoRA    *clip.LoRA      `json:"lora"`   // nil: none
	Device  string          `json:"device"` // filled in
}

// Init says where the parameters start.
type Init struct {
	Weights string   `json:"weights"` // an absolute path: published weights or a checkpoint folder; "": random
	Towers  []string `json:"towers"`  // image, text or both: who takes them
}

// Data says what the run trains on.
type Data struct {
	Train    []TrainData `json:"train"`   // the sources; at least one
	Workers  int         `json:"workers"` // 0: the runner chooses
	Prefetch int         `json:"prefetch"`
	// MaxBadShare limits the share of samples that cannot be read, and of records refused, 0 … 1.
	MaxBadShare float64 `json:"max_bad_share"`
	Cache       *Cache  `json:"cache"` // nil: no pictures are kept
	// EpochSamples is how many samples count as an epoch; 0: as many as there are.
	EpochSamples int `json:"epoch_samples"`
}

// Cache says how training pictures are kept.
type Cache struct {
	Format string `json:"format"` // raw or jpeg
	Max    Memory `json:"max"`
}

// TrainData names a source of training samples and how it is read.
type TrainData struct {
	Dataset string          `json:"dataset"`
	With    json.RawMessage `json:"with"`
	Augment *clip.Augment   `json:"augment"` // nil: none
	Shuffle string          `json:"shuffle"` // ShuffleGlobal, ShuffleShards or ShuffleNone
	// ShuffleWindow is how many samples ShuffleShards shuffles together.
	ShuffleWindow int `json:"shuffle_window"`
	// Name, Weight and Quota are those of a source among several; of one alone they are zero. A source has a weight or a
	// quota; when none has either, each counts by its size.
	Name   string  `json:"name"`
	Weight float64 `json:"weight"`
	Quota  int     `json:"quota"`
}

// Train holds the recipe.
type Train struct {
	BatchSize       int      `json:"batch_size"`
	MicroBatchSize  int      `json:"micro_batch_size"` // filled in; divides BatchSize
	Epochs          float64  `json:"epochs"`           // 0: no such limit
	MaxSteps        int      `json:"max_steps"`        // 0: no such limit
	Optimizer       string   `json:"optimizer"`
	LR              float64  `json:"lr"`
	MinLR           float64  `json:"min_lr"`
	WeightDecay     float64  `json:"weight_decay"`
	DecayEmbeddings bool     `json:"decay_embeddings"`
	Groups          []Group  `json:"groups"`
	LayerDecay      ByTower  `json:"layer_decay"` // 0: off
	EMA             float64  `json:"ema"`         // decay of the averaged weights; 0: none
	Beta1           float64  `json:"beta1"`
	Beta2           float64  `json:"beta2"`
	Eps             float64  `json:"eps"`
	Momentum        float64  `json:"momentum"`
	Schedule        string   `json:"schedule"`
	WarmupSteps     int      `json:"warmup_steps"`
	CooldownSteps   int      `json:"cooldown_steps"`
	MaxGradNorm     float64  `json:"max_grad_norm"` // 0: no clipping
	ParallelTowers  Switch   `json:"parallel_towers"`
	Colocate        Switch   `json:"colocate"`
	Precision       string   `json:"precision"`
	FeatureCache    string   `json:"feature_cache"` // auto or off
	LogEvery        int      `json:"log_every"`
	EvalEvery       Interval `json:"eval_every"`
	EvalDevice      string   `json:"eval_device"` // "": training waits for its evaluations
	CheckpointEvery Interval `json:"checkpoint_every"`
	KeepCheckpoints int      `json:"keep_checkpoints"`
	// ActivationCheckpointing computes blocks again in the backward pass instead of keeping them.
	ActivationCheckpointing bool `json:"activation_checkpointing"`
	// SyncNorm asks batch normalisation for the statistics of all ranks' samples together.
	SyncNorm bool `json:"sync_norm"`
	// DeduplicateCaptions computes equal captions of a micro-batch once.
	DeduplicateCaptions bool `json:"deduplicate_captions"`
}

// ClipOptimizer returns the optimiser as losses take it; TowerOptimizer returns that of an encoder.
func (t Train) ClipOptimizer() clip.Optimizer {
	return clip.Optimizer{
		Name: t.Optimizer, WeightDecay: t.WeightDecay, Beta1: t.Beta1, Beta2: t.Beta2, Eps: t.Eps,
		Momentum: t.Momentum, DecayEmbeddings: t.DecayEmbeddings,
	}
}

// WithPython is implemented by catalogs of plugins in Python.
type WithPython interface {
	// WithPython returns the same catalog with an interpreter for them.
	WithPython(interpreter string) Catalog
}

// Catalog describes plugins without starting them.
type Catalog interface {
	// Describe returns a plugin's descriptor. name is bare ("vit") or the path of a binary. A plugin that
	// does not exist yields fault.NotFound.
	Describe(kind clip.Kind, name string) (clip.Descriptor, error)
	// Names returns the bare names of the plugins of a kind.
	Names(kind clip.Kind) []string
}

// Options configures Load.
type Options struct {
	Set     []string // of --set: "train.batch_size=64"
	Env     []string // as os.Environ gives it; only RUNNER_SET_… counts
	Catalog Catalog  // nil: plugins are not looked at
	// Begun says that the spec belongs to a run that has begun: init.weights have been read and may be gone.
	Begun bool
}
