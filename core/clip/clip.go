// Package clip defines the domain of tandem: three kinds of plugin (Encoder, Loss, Dataset), what each
// takes and returns, and the interfaces that each may implement beside (Meter, Profiler, MemoryReporter,
// Planner, TokenCounter).
//
// The package has only interfaces and data. core/plugin/wire carries them over gRPC, core/plugin/process
// starts plugins as processes, and core/plugin/sdk serves an author's implementation; clip imports none
// of them.
//
// # Lifecycle of a plugin
//
//  1. Configure is called once, before every other method. It validates the configuration, allocates
//     memory and initialises parameters. A second call returns fault.Conflict.
//  2. The other methods follow in any order. The caller serialises them: no two run at the same time on
//     one instance. Dataset.Batch is an exception: several goroutines may call it at once. So is Bucketed.Gradients.
//  3. Close is called last. Further calls of Close do nothing.
//
// Every method obeys its context: soon after the context is cancelled the method returns fault.Canceled,
// and the instance stays usable.
//
// # One training step
//
// B is the batch size, D the width of the embedding space.
//
//	batch      := dataset.Batch(epoch, indices)
//	img, t1    := image.Forward(batch.Images, Train)     [B, D] rows of unit norm, and a ticket
//	txt, t2    := text.Forward(batch.Captions, Train)    [B, D] rows of unit norm, and a ticket
//	r          := loss.Compute(img, txt)                 value, dValue/dImage, dValue/dText
//	image.Backward(t1, r.DImage); text.Backward(t2, r.DText)
//	norm²      := image.GradNorm() + text.GradNorm() + loss.GradNorm()
//	Step(lr, scale) on all three, scale = min(1, max_norm/norm)
//
// BackwardNormer and ComputeNormer return the gradient norm together with the gradients and save a call.
//
// Gradient accumulation follows GradCache (Gao et al. 2021, arXiv 2101.06983): embed every micro-batch
// with mode Embed, compute the loss of the whole batch, then run each micro-batch forward again with mode
// Train and backward with its rows of the gradient. The gradient is that of the whole batch.
//
// # Tensors
//
// The caller owns the tensors that it passes in. A method does not modify them, and does not keep them
// after it returns. The caller also owns the tensors that a method returns, and calls Free on each.
//
// # Errors
//
// Errors are of core/fault. The comments name the kind where the caller acts on it; fault.Invalid means
// that the user must change the input, fault.Conflict that the call does not fit the instance's state.
package clip

import (
	"context"
	"encoding/json"

	"tandem/core/tensor"
)

// ProtocolVersion numbers the newest plugin protocol of this build, OldestProtocol the oldest that it still speaks.
// A plugin speaks exactly one version. docs/protocol.md tells what each version added.
const (
	ProtocolVersion = 2
	OldestProtocol  = 1
)

// Kind names one of the three kinds of plugin.
type Kind string

// The kinds of plugin.
const (
	KindEncoder Kind = "encoder"
	KindLoss    Kind = "loss"
	KindDataset Kind = "dataset"
)

// Dir returns the plural that plugin names and folders use: encoders, losses, datasets.
func (k Kind) Dir() string {
	if k == KindLoss {
		return "losses"
	}
	return string(k) + "s"
}

// Modality says what an encoder reads: images or texts.
type Modality string

// The modalities.
const (
	Image Modality = "image"
	Text  Modality = "text"
)

// Optimizer configures the optimiser of an encoder or a loss.
type Optimizer struct {
	Name        string  `json:"name"`         // adamw, sgd or lion
	WeightDecay float64 `json:"weight_decay"` // decoupled; parameters with fewer than 2 dimensions have none
	Beta1       float64 `json:"beta1"`
	Beta2       float64 `json:"beta2"`
	Eps         float64 `json:"eps"`
	Momentum    float64 `json:"momentum"` // sgd only
	// DecayEmbeddings applies weight decay to positional and class embeddings too.
	DecayEmbeddings bool `json:"decay_embeddings"`
	// Groups changes the rate or the decay of parameters by name; the first group that matches a parameter
	// counts. Only for encoders with CapGroups. A glob that matches nothing yields fault.Invalid with the path
	// optimizer.groups[i].params.
	Groups []ParamGroup `json:"groups,omitempty"`
	// LayerDecay lowers the learning rate towards the input: layer l of 0 … L+1 (0 the stem, i+1 block i, L+1 what
	// follows the blocks) has the rate lr · LayerDecay^(L+1−l) (Clark et al. 2020, arXiv 2003.10555). 0 and 1 mean
	// the same rate everywhere. Only for encoders with CapGroups.
	LayerDecay float64 `json:"layer_decay,omitempty"`
	// EMADecay keeps an average of the parameters: the first Step copies them, each later one computes
	// average ← EMADecay·average + (1−EMADecay)·parameter. 0 means no average. Only for encoders with CapEMA.
	EMADecay float64 `json:"ema_decay,omitempty"`
}

// ParamGroup gives parameters a learning rate or a weight decay of their own.
type ParamGroup struct {
	Params      []string `json:"params"`                 // globs of parameter names (path.Match)
	LRScale     *float64 `json:"lr_scale,omitempty"`     // multiplies the learning rate, LayerDecay's factor included; nil: 1
	WeightDecay *float64 `json:"weight_decay,omitempty"` // nil: the optimiser's, with its exceptions; else for all that match
	// Start leaves the parameters as they are for so many steps; step Start+1 is the first that updates them, and counts
	// as their first (linear probing, then fine-tuning: Kumar et al. 2022, arXiv 2202.10054). Only for encoders with
	// CapStart.
	Start int `json:"start,omitempty"`
}

// Compute configures the device that a plugin computes on, and how.
type Compute struct {
	Device  string `json:"device"`  // auto, cpu, host (the pure Go reference) or cuda:N
	Threads int    `json:"threads"` // most threads at a time; at least 1
	// Precision of an encoder's matrix products: f32, tf32, bf16 or bf16-emulated; losses get f32. With bf16 an encoder
	// refuses a device that has no products of bfloat16; with bf16-emulated it then rounds and multiplies float32.
	Precision string `json:"precision"`
	// MemoryLimit limits the memory, in bytes, that the plugin may take of a device with memory of its own;
	// 0 means no limit. A plugin that needs more returns fault.Exhausted.
	MemoryLimit int64 `json:"memory_limit,omitempty"`
	// Checkpointing asks an encoder to compute the activations of its blocks again in the backward pass
	// instead of keeping them (Chen et al. 2016, arXiv 1604.06174). The results are the same bits. An
	// encoder that cannot do so may ignore it.
	Checkpointing bool `json:"checkpointing"`
	// Communicator is nil for one rank. It may be set for encoders with CapNCCL only.
	Communicator *Communicator `json:"communicator,omitempty"`
}

// BF16 reports whether products take their operands as bfloat16, by whatever means.
func (c Compute) BF16() bool { return c.Precision == "bf16" || c.Precision == "bf16-emulated" }

// Trainable holds parameters and their optimiser. Encoders and losses are Trainable.
type Trainable interface {
	// GradNorm returns the square of the gradient's norm: the sum of the squares of all gradients
	// accumulated since the last Step. It is 0 when nothing is trained. A sum that is not finite is
	// returned as it is, without an error.
	GradNorm(context.Context) (float64, error)
	// Step multiplies the gradients by scale, updates the parameters with learning rate lr and sets the
	// gradients to zero. step counts from 1; Adam's bias correction takes it as its exponent.
	Step(ctx context.Context, step int, lr, scale float64) error
	// Save writes parameters, buffers, optimiser state and whatever else Load needs (such as a trained
	// tokenizer) to path as a safetensors file. It overwrites an existing file. The caller makes the
	// write durable and atomic.
	Save(ctx context.Context, path string) error
	// Load reads a file that Save wrote. The next steps give the same bits as without the interruption.
	// A file of another shape or configuration yields fault.Invalid, a damaged file fault.Corrupt; after
	// either error the instance is as it was before.
	//
	// Load may also accept published weights: a safetensors file without the plugin's own format in its
	// metadata, which holds the parameters of a whole model under any of the names that
	// core/engine/weights/keymap reads. The plugin takes its own parameters from it, and the optimiser
	// starts anew. A plugin that cannot read such files returns fault.Invalid.
	Load(ctx context.Context, path string) error
}

// EncoderConfig configures an encoder.
type EncoderConfig struct {
	With     json.RawMessage // the with block of the spec: a JSON object that passed the schema
	EmbedDim int             // D, the width of the embedding space that both encoders share
	// Modality says which tower the encoder is to be; encoders whose descriptor has no modality serve as either.
	Modality  Modality
	Seed      uint64 // of the initialisation and of everything random
	Optimizer Optimizer
	Compute   Compute
	// Freeze may be set for encoders with CapFreeze only. A selection that does not fit the network yields
	// fault.Invalid with the path freeze.blocks or freeze.params.
	Freeze Freeze
	// LoRA is nil for none. It may be set for encoders with CapLoRA only. A choice that does not fit the network yields
	// fault.Invalid with the path lora.targets, lora.rank or lora.train.
	LoRA *LoRA
	// SyncNorm asks batch normalisation for the statistics of the samples of all ranks and of all parts of a request
	// (ForwardRequest.Parts) together, in place of those of each. It may be set for encoders with CapExchange only.
	SyncNorm bool
	// Captions holds captions of the training data, on which a text encoder with CapVocabulary trains its
	// tokenizer. Without captions such an encoder cannot be used until Load.
	Captions []string
}

// EncoderInfo describes a configured encoder.
type EncoderInfo struct {
	Modality      Modality
	EmbedDim      int      // D
	Parameters    int64    // number of scalars, frozen ones included
	Frozen        int64    // how many of them are frozen
	ImageSize     int      // S, the side in pixels of the square images that Forward takes; 0 for text encoders
	ContextLength int      // most tokens of a text; 0 for image encoders
	VocabSize     int      // number of tokens of the vocabulary; 0 for image encoders
	FLOPs         float64  // of the forward pass of one sample; a multiply-add counts as 2
	Backend       string   // for people: "onednn 2.6.3 (2 threads)"
	Remarks       []string // for people: what they should know of how it computes, a sentence each
	TokenCount    int      // T of the token output (TokenEncoder); 0 when there is none
	// Fixed promises that nothing is trained and nothing is random: as long as the process lives, an
	// embedding depends on its sample alone, in mode Train as in mode Eval.
	Fixed bool
	// Pins announces that hardware reads and writes the memory of tensors by itself, at any time. Shared
	// memory must then stay where it is (tensor.Tensor.Pages).
	Pins bool
	// BucketSizes are the numbers of gradients in each bucket (Bucketed).
	BucketSizes []int
}

// Mode says what a Forward is for.
type Mode int

// The modes.
const (
	// Eval computes without randomness, with running statistics. It gives no ticket.
	Eval Mode = iota
	// Train keeps what Backward needs under a ticket (no ticket when everything is frozen) and updates
	// running statistics.
	Train
	// Embed computes the same numbers as Train, but keeps nothing and updates nothing.
	Embed
	// Raw computes as Eval does but does not normalise the rows to unit norm. An encoder that has no such
	// output returns fault.Invalid.
	Raw
)

// Ticket names a Forward in mode Train whose activations the encoder keeps. 0 means no ticket.
type Ticket uint64

// ForwardRequest holds the input of an encoder. Exactly one of Images and Texts is set.
type ForwardRequest struct {
	Images *tensor.Tensor // u8 [B, S, S, 3], RGB, S = EncoderInfo.ImageSize; the encoder normalises the pixels
	Texts  []string       // B captions; the tokenizer cuts those that are too long
	Mode   Mode
	// Step counts the steps taken so far. It and Micro (the index of the micro-batch) select the random numbers, such as
	// those of patch dropout: the same pair gives the same bits. Step also says which parameters have started
	// (ParamGroup.Start).
	Step, Micro int
	// ID names the content of Images: requests with the same ID have the same pictures. 0 means no name.
	//
	// Next, when not nil, holds the pictures of a later request, and NextID is the ID that it will have. An
	// encoder with CapPrefetch may copy them to its device while it computes, but must not rely on that
	// request to come. Next is the one tensor that may be read after the call, until the request named
	// NextID; when its memory is reused before that, no request with that ID comes.
	ID, NextID uint64
	Next       *tensor.Tensor
	// Into, when not nil, is f32 [B, D]. The encoder may write the embeddings there and return Into.
	Into *tensor.Tensor
	// EMA computes with the averaged weights (Optimizer.EMADecay), in modes Eval and Raw only. An encoder that keeps
	// no average returns fault.Invalid.
	EMA bool
	// Parts > 1 says that Images holds as many micro-batches of equal size, with the indices Micro, Micro+1, …, which are normalised
	// together with those of other ranks and give one ticket. Backward adds the gradients of one part to those of the parts before
	// it, as if each had come by itself. It may be set with EncoderConfig.SyncNorm only.
	Parts int
	// IntoTokens and IntoLengths, when not nil, do for TokenOutput what Into does for the embeddings.
	IntoTokens, IntoLengths *tensor.Tensor
}

// Encoder maps images or texts to unit vectors of an embedding space that two encoders share.
type Encoder interface {
	Trainable
	// Configure prepares the encoder and returns its description. A configuration that does not fit yields
	// fault.Invalid.
	Configure(context.Context, EncoderConfig) (EncoderInfo, error)
	// Forward returns the embeddings, f32 [B, D], with rows of unit L2 norm (not in mode Raw). In mode Train
	// it also returns a ticket for Backward, unless everything is frozen. Several tickets may be open at a
	// time. A result that is not finite yields fault.Numeric.
	Forward(context.Context, ForwardRequest) (*tensor.Tensor, Ticket, error)
	// Backward adds the gradients of the parameters to those accumulated, given grad = dLoss/dEmbedding,
	// f32 [B, D], and closes the ticket. An unknown or closed ticket yields fault.Conflict.
	Backward(ctx context.Context, t Ticket, grad *tensor.Tensor) error
	// Discard closes a ticket without a Backward and frees what it kept. It ignores unknown tickets.
	Discard(context.Context, Ticket) error
	// Close frees everything that the encoder holds.
	Close() error
}

// TokenOutput holds the two outputs of a TokenEncoder. T = EncoderInfo.TokenCount.
type TokenOutput struct {
	Embedding *tensor.Tensor // f32 [B, D], as Forward returns it
	// Tokens is f32 [B, T, D]: the embedding of each patch (the class token excluded) or of each token of the text,
	// with rows of unit L2 norm. Rows from the sample's length on are 0.
	Tokens  *tensor.Tensor
	Lengths *tensor.Tensor // i32 [B], from 1 to T
}

// TokenEncoder is implemented by encoders that list OutputTokens in Descriptor.Outputs. Losses over tokens
// (FILIP, Yao et al. 2022, arXiv 2111.07783) take this output.
type TokenEncoder interface {
	// ForwardTokens does what Forward does, and returns the tokens too.
	ForwardTokens(context.Context, ForwardRequest) (TokenOutput, Ticket, error)
	// BackwardTokens does what Backward does for a ticket of ForwardTokens. tokens is f32 [B, T, D], the gradient of
	// TokenOutput.Tokens; its rows from the sample's length on do not count.
	BackwardTokens(ctx context.Context, t Ticket, grad, tokens *tensor.Tensor) error
}

// LossConfig configures a loss.
type LossConfig struct {
	With      json.RawMessage // the with block of the spec: a JSON object that passed the schema
	EmbedDim  int             // D
	BatchSize int             // B of training, for losses whose initialisation depends on it
	Seed      uint64
	Optimizer Optimizer
	Compute   Compute
	// Negatives is K of InputTextNegatives; TeacherImageDim and TeacherTextDim are the widths of the teachers'
	// embeddings. They are 0 for inputs that the descriptor does not name.
	Negatives                       int
	TeacherImageDim, TeacherTextDim int
}

// LossInfo describes a configured loss.
type LossInfo struct {
	Parameters int64  // number of scalars that are trained: 1 for a learnable logit scale
	Backend    string // for people, as in EncoderInfo
	Pins       bool   // as in EncoderInfo
	// BucketSizes are the numbers of gradients in each bucket (Bucketed).
	BucketSizes []int
}

// LossRequest holds the input of a loss.
type LossRequest struct {
	Image *tensor.Tensor // f32 [B, D]; row i and row i of Text are a pair
	Text  *tensor.Tensor // f32 [B, D]
	// Train accumulates the gradients of the loss's own parameters and fills DImage and DText.
	Train bool
	// PerSample asks for LossResult.PerSample.
	PerSample bool
	// IntoImage and IntoText, when not nil, are f32 [B, D]. The loss may write DImage and DText there and
	// return them.
	IntoImage, IntoText *tensor.Tensor
	// Inputs holds what Descriptor.Inputs names, and nothing else.
	Inputs map[string]LossInput
	// Rows > 0 asks for the share of these rows in the whole: rows RowOffset … RowOffset+Rows-1 of Image and of Text, each scored
	// against all of the other. Value, Parts and all gradients are those shares, gradients in the shape of the
	// whole, so that the sum over disjoint rows is the answer to a request without Rows. PerSample has Rows values. It may be
	// set for losses with CapRows only.
	RowOffset, Rows int
}

// LossResult holds the output of a loss.
type LossResult struct {
	Value  float64        // mean over the batch, in nats
	DImage *tensor.Tensor // f32 [B, D], dValue/dImage; nil unless Train
	DText  *tensor.Tensor // f32 [B, D], dValue/dText; nil unless Train
	// Gradients holds dValue/dInput of every differentiable input of the request (DifferentiableInput), in the
	// input's shape; nil unless Train.
	Gradients map[string]*tensor.Tensor
	// Parts holds the terms that make up Value: image_to_text, text_to_image, …
	Parts map[string]float64
	// Scalars holds the state worth watching, as it was before the step: logit_scale (the multiplier; the
	// parameter is its log), logit_bias, …
	Scalars map[string]float64
	// PerSample maps the name of a part to its B values, one a sample.
	PerSample map[string][]float32
}

// Free frees the gradients.
func (r *LossResult) Free() {
	r.DImage.Free()
	r.DText.Free()
	for _, t := range r.Gradients {
		t.Free()
	}
}

// Loss scores a batch of pairs.
type Loss interface {
	Trainable
	// Configure prepares the loss and returns its description. A configuration that does not fit yields
	// fault.Invalid.
	Configure(context.Context, LossConfig) (LossInfo, error)
	// Compute returns the loss of a batch. Shapes that differ and B < 2 yield fault.Invalid; a value that is
	// not finite yields fault.Numeric.
	Compute(context.Context, LossRequest) (*LossResult, error)
	// Close frees everything that the loss holds.
	Close() error
}
