// Package clip is the domain of tandem: what an encoder, a loss and a dataset are, and what the
// trainer may ask of them. Adapters elsewhere put these interfaces on a wire (core/plugin/wire), behind
// processes (core/plugin/process) or in front of an author's code (core/plugin/sdk); none of them is known here.
//
// # Lifecycle of every plugin
//
//  1. Configure once, before anything else. It validates the config, allocates and initialises.
//     A second Configure is fault.Conflict.
//  2. Use: any sequence of the other methods, never concurrently on one instance. The caller
//     serialises; a Dataset's Batch alone may be called from several goroutines at once.
//  3. Close once; later calls do nothing. Every method honours its context: when it is cancelled the
//     method returns fault.Canceled soon and leaves the instance usable.
//
// # One training step
//
//	batch      := dataset.Batch(epoch, indices)
//	img, t1    := image.Forward(batch.Images, Train)     [B, D] unit rows
//	txt, t2    := text.Forward(batch.Captions, Train)    [B, D] unit rows
//	r          := loss.Compute(img, txt)                 value, dImg, dTxt
//	image.Backward(t1, r.DImage); text.Backward(t2, r.DText)
//	norm²      := image.GradNorm() + text.GradNorm() + loss.GradNorm() (or along with the gradients: BackwardNormer)
//	Step(lr, scale) on all three, scale = min(1, max_norm/norm)
//
// Gradient accumulation follows GradCache (Gao et al. 2021, arXiv 2101.06983): every micro-batch is
// embedded with mode Embed, the loss is taken over the whole batch, then each micro-batch is
// forwarded again in mode Train and given its rows of the gradient.
//
// Ownership: tensors that come in belong to the caller, are not modified and not kept beyond the
// call; tensors that go out belong to the caller, who calls Free on them.
package clip

import (
	"context"
	"encoding/json"

	"tandem/core/tensor"
)

// ProtocolVersion is the version of the plugin protocol; a plugin speaks exactly one.
const ProtocolVersion = 1

// Kind is a sort of plugin.
type Kind string

// The kinds of plugin. Dir gives the folder and name prefix.
const (
	KindEncoder Kind = "encoder"
	KindLoss    Kind = "loss"
	KindDataset Kind = "dataset"
)

// Dir is the plural used in plugin names and folders: encoders, losses, datasets.
func (k Kind) Dir() string {
	if k == KindLoss {
		return "losses"
	}
	return string(k) + "s"
}

// Modality is what an encoder reads.
type Modality string

// The modalities.
const (
	Image Modality = "image"
	Text  Modality = "text"
)

// Optimizer is the optimiser of a trainable plugin. Names: adamw, sgd, lion.
type Optimizer struct {
	Name        string  `json:"name"`
	WeightDecay float64 `json:"weight_decay"` // decoupled; not applied to parameters of under 2 dimensions
	Beta1       float64 `json:"beta1"`
	Beta2       float64 `json:"beta2"`
	Eps         float64 `json:"eps"`
	Momentum    float64 `json:"momentum"` // sgd only
	// DecayEmbeddings false also exempts positional and class embeddings from weight decay.
	DecayEmbeddings bool `json:"decay_embeddings"`
}

// Compute is where and with what a plugin computes.
type Compute struct {
	Device    string `json:"device"`    // auto, cpu, host (the pure Go reference) or cuda:N
	Threads   int    `json:"threads"`   // at most this many at a time; ≥ 1
	Precision string `json:"precision"` // f32, tf32 or bf16: of an encoder's products; losses are given f32
	// MemoryLimit is how many bytes of the device's memory the plugin may take, when the device has memory
	// of its own; 0: as much as there is. Beyond it is fault.Exhausted.
	MemoryLimit int64 `json:"memory_limit,omitempty"`
	// Checkpointing asks an encoder to compute its blocks' activations again in the backward pass instead of
	// keeping them (Chen et al. 2016). Results are the same bits; one that cannot may ignore it.
	Checkpointing bool `json:"checkpointing"`
}

// Trainable is what encoders and losses share: parameters with an optimiser.
type Trainable interface {
	// GradNorm is the sum of squares of all gradients accumulated since the last Step, 0 when nothing
	// is trained. A non-finite sum is returned as such, not as an error.
	GradNorm(context.Context) (float64, error)
	// Step multiplies the gradients by scale, updates the parameters with learning rate lr and zeroes
	// the gradients. step counts from 1 and is the bias correction's exponent.
	Step(ctx context.Context, step int, lr, scale float64) error
	// Save writes parameters, buffers, optimiser state and whatever else Load needs (a trained
	// tokenizer) to path as safetensors, overwriting. The caller makes it durable and atomic.
	Save(ctx context.Context, path string) error
	// Load reads what Save wrote; the next steps give the bits that they would have given without
	// the interruption. A file of another shape or config is fault.Invalid, a damaged one
	// fault.Corrupt; both leave the instance as it was.
	//
	// Load may also take published weights: a safetensors file whose metadata has no format of the
	// plugin's own, with a whole model's parameters under whatever names core/engine/weights/keymap reads, of
	// which the plugin takes its own. The optimiser's state then starts anew. One that knows no such
	// files answers fault.Invalid.
	Load(ctx context.Context, path string) error
}

// Freeze says which parameters of an encoder are not trained: they get no gradient, no weight decay and
// no optimiser's state, and batch normalisation between them keeps its running statistics and uses them.
// What the fields name adds up; the zero value freezes nothing.
type Freeze struct {
	All bool `json:"all,omitempty"` // locked-image tuning (Zhai et al. 2022, arXiv 2111.07991) when of the image tower
	// Blocks freezes the stem (patch or token embeddings, positions) and the first so many blocks
	// (residual attention blocks, stages of a ResNet); a negative number counts from the end: −1 leaves
	// the last block and what follows it.
	Blocks *int `json:"blocks,omitempty"`
	// Params are globs (path.Match) of parameter names, each of which must match something.
	Params []string `json:"params,omitempty"`
}

// Any says whether anything is to be frozen.
func (f Freeze) Any() bool { return f.All || f.Blocks != nil || len(f.Params) > 0 }

// EncoderConfig configures an encoder.
type EncoderConfig struct {
	With      json.RawMessage // the spec's with block: an object, already checked against the schema
	EmbedDim  int             // D, the width of the shared space
	Seed      uint64
	Optimizer Optimizer
	Compute   Compute
	// Freeze is set for encoders with CapFreeze only. What does not fit the network is fault.Invalid
	// with the path freeze.blocks or freeze.params.
	Freeze Freeze
	// Captions are training captions for a text encoder whose descriptor has CapVocabulary, for
	// training its tokenizer. With none, such an encoder is unusable until Load.
	Captions []string
}

// EncoderInfo is what a configured encoder is.
type EncoderInfo struct {
	Modality      Modality
	EmbedDim      int
	Parameters    int64    // scalars, frozen ones included
	Frozen        int64    // of these, not trained
	ImageSize     int      // square side in pixels that Forward takes; 0 for text
	ContextLength int      // tokens; 0 for images
	VocabSize     int      // 0 for images
	FLOPs         float64  // of one sample's forward pass, multiply-add counted as 2
	Backend       string   // "onednn 2.6.3 (2 threads)"
	Remarks       []string // what a person should know of how it computes, a sentence each
	// Fixed says that nothing is trained and nothing is random: an embedding is a function of its
	// sample, in mode Train as in Eval, for as long as the process lives.
	Fixed bool
	// Pins says that hardware reads and writes tensors' memory by itself, at any time: memory that is shared
	// must stay where it is (tensor.Tensor.Pages).
	Pins bool
}

// Mode says what a Forward is for.
type Mode int

// The modes.
const (
	Eval  Mode = iota // inference: running statistics, no randomness, no ticket
	Train             // keeps what Backward needs, under a ticket (none when all is frozen); updates running statistics
	Embed             // like Train in every number, but keeps nothing and updates nothing
	Raw               // like Eval, without the normalisation to unit rows; an encoder may refuse it as fault.Invalid
)

// Ticket names a Forward in mode Train whose activations are kept; 0 is none.
type Ticket uint64

// ForwardRequest is the input of an encoder. Exactly one of Images and Texts is set.
type ForwardRequest struct {
	Images *tensor.Tensor // u8 [B, S, S, 3] RGB, S = EncoderInfo.ImageSize; normalised by the encoder
	Texts  []string       // B captions; too long ones are cut as the tokenizer says
	Mode   Mode
	// Step and Micro position the random streams (patch dropout): the same pair gives the same bits.
	Step, Micro int
	// ID names what is in Images: requests with equal IDs have equal pictures; 0 is no name. Next are the
	// pictures of a later request, whose ID will be NextID: an encoder with CapPrefetch may copy them in
	// while it computes, and must not count on that request to come. Next, alone of all that a call is
	// given, may be read until then; when its memory was given to others meanwhile, that ID never comes.
	ID, NextID uint64
	Next       *tensor.Tensor
	// Into, when not nil, is f32 [B, D] where the embeddings may be put, to be returned as they are.
	Into *tensor.Tensor
}

// Encoder maps images or texts to unit vectors of a shared space.
type Encoder interface {
	Trainable
	Configure(context.Context, EncoderConfig) (EncoderInfo, error)
	// Forward gives f32 [B, D], rows of unit L2 norm (but in mode Raw), and in mode Train a ticket,
	// unless everything is frozen: then there is nothing to go back for. Several tickets may be
	// outstanding. A non-finite result is fault.Numeric.
	Forward(context.Context, ForwardRequest) (*tensor.Tensor, Ticket, error)
	// Backward adds the gradients for grad = dLoss/dEmbedding, f32 [B, D], to those accumulated, and
	// uses the ticket up. An unknown or used ticket is fault.Conflict.
	Backward(ctx context.Context, t Ticket, grad *tensor.Tensor) error
	// Discard uses a ticket up without a Backward; unknown tickets are ignored.
	Discard(context.Context, Ticket) error
	Close() error
}

// BackwardNormer is an encoder that gives the gradient's norm with the last gradient before a Step, which
// saves a call where calls are dear: the trainer's end of another process. Plugins need not implement it.
type BackwardNormer interface {
	// BackwardNorm is Backward followed by GradNorm.
	BackwardNorm(ctx context.Context, t Ticket, grad *tensor.Tensor) (sumOfSquares float64, err error)
}

// ComputeNormer is likewise for a loss.
type ComputeNormer interface {
	// ComputeNorm is Compute followed by GradNorm.
	ComputeNorm(context.Context, LossRequest) (r *LossResult, sumOfSquares float64, err error)
}

// LossConfig configures a loss.
type LossConfig struct {
	With      json.RawMessage
	EmbedDim  int
	BatchSize int // of training, for losses whose initialisation depends on it
	Seed      uint64
	Optimizer Optimizer
	Compute   Compute
}

// LossInfo is what a configured loss is.
type LossInfo struct {
	Parameters int64 // trainable scalars: 1 for a learnable logit scale
	Backend    string
	Pins       bool // as in EncoderInfo
}

// LossRequest is the input of a loss.
type LossRequest struct {
	Image *tensor.Tensor // f32 [B, D], row i belongs to row i of Text
	Text  *tensor.Tensor // f32 [B, D]
	// Train accumulates the loss's own gradients and fills DImage and DText.
	Train bool
	// PerSample fills LossResult.PerSample.
	PerSample bool
	// IntoImage and IntoText, when not nil, are f32 [B, D] where DImage and DText may be put, to be returned
	// as they are.
	IntoImage, IntoText *tensor.Tensor
}

// LossResult is the output of a loss.
type LossResult struct {
	Value  float64        // mean over the batch, in nats
	DImage *tensor.Tensor // f32 [B, D] dValue/dImage; nil unless Train
	DText  *tensor.Tensor // f32 [B, D]
	// Parts are the terms the value is made of: image_to_text, text_to_image, …
	Parts map[string]float64
	// Scalars are the state worth watching, before the step: logit_scale (its log is the parameter;
	// this is the multiplier exp(·)), logit_bias, …
	Scalars map[string]float64
	// PerSample maps the name of a part to its B values.
	PerSample map[string][]float32
}

// Loss scores a batch of pairs.
type Loss interface {
	Trainable
	Configure(context.Context, LossConfig) (LossInfo, error)
	// Compute gives the loss of a batch. Shapes that differ or B < 2 are fault.Invalid, a non-finite
	// value is fault.Numeric.
	Compute(context.Context, LossRequest) (*LossResult, error)
	Close() error
}

// Augment is the training-time image transform of a spec; nil is the evaluation transform (resize
// of the shorter side, centre crop).
type Augment struct {
	// Name is none or random_resized_crop.
	Name string `json:"name"`
	// Scale is the range of the crop's area as a fraction of the picture's, for random_resized_crop.
	Scale [2]float64 `json:"scale"`
	// Ratio is the range of the crop's aspect ratio (width over height).
	Ratio [2]float64 `json:"ratio"`
	// HFlip is the probability of a horizontal flip.
	HFlip float64 `json:"hflip"`
}

// DatasetConfig configures a dataset.
type DatasetConfig struct {
	With      json.RawMessage
	ImageSize int // square side of the pictures to deliver, > 0
	Seed      uint64
	Augment   *Augment
	Threads   int    // decoders at a time; ≥ 1
	CacheDir  string // a folder that may be written to, shared between runs; "" for none
}

// Target is a labelling of the samples for zero-shot classification.
type Target struct {
	Name    string
	Classes []string // texts to fill a prompt template with, by class id
}

// DatasetInfo is what a configured dataset is.
type DatasetInfo struct {
	Len     int // samples; indices are 0 … Len-1 in the file's order
	Targets []Target
	Digest  string // hex sha256 that changes when the samples do
	Skipped int    // records refused while opening
	Note    string // one line for a person: source, licence
	// Remarks are what a person should know of the data, a sentence each: classes that become one, labels that
	// contradict each other.
	Remarks []string
	// Fixed says that a sample's picture in training is the same whatever epoch and seed: nothing is
	// cropped, flipped or altered at random. Captions may change all the same.
	Fixed bool
}

// BatchRequest asks for samples. Their content is a pure function of (config, Epoch, index).
type BatchRequest struct {
	Indices []int
	Epoch   int  // from 0; positions augmentation and the choice among captions
	Train   bool // augment and sample one caption; false: evaluation transform, all captions
	// Into, when not nil, is u8 [len(Indices), S, S, 3] to write the pictures to.
	Into *tensor.Tensor
	// NoImages says that the pictures are not wanted: they need not be read, and Batch.Images may be
	// nil. Whether a picture can be read is not found out then, so that there are no Faults.
	NoImages bool
}

// SampleFault is a sample that could not be read.
type SampleFault struct {
	Index int
	Key   string
	Msg   string
}

// Batch is B = len(Indices) samples in the order asked for. A sample that cannot be read is reported in Faults,
// unless the dataset is configured to fail: what stands in its place, if only its own caption and a black picture, is
// not used. What keeps all samples from being read for the moment is an error.
type Batch struct {
	Images   *tensor.Tensor     // u8 [B, S, S, 3]; the request's Into when that was set; nil after NoImages
	Captions []string           // one per sample
	All      [][]string         // every caption of each sample; only when !Train
	Keys     []string           // stable names of the samples: "1f600/google"
	Groups   []int64            // samples of one group are positives of one another in retrieval
	Labels   map[string][]int32 // class id by target; -1 for none
	Faults   []SampleFault
}

// Dataset delivers image–text pairs.
type Dataset interface {
	Configure(context.Context, DatasetConfig) (DatasetInfo, error)
	Batch(context.Context, BatchRequest) (*Batch, error)
	// Captions are the captions of the samples, each distinct text once, in a stable order, at most
	// limit of them (0: all).
	Captions(ctx context.Context, limit int) ([]string, error)
	Close() error
}
