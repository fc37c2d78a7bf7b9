// Package tower makes an encoder plugin of a network: it implements clip.Encoder for anything that
// declares its parameters with core/engine/nn and builds its graph for a batch.
//
// A tower owns the parameters in one flat buffer of device memory, their gradients in another, the
// optimiser's state and the running statistics. For every mode, batch size and number of tokens it compiles
// a program on first use and keeps it; each Forward in mode Train takes a set of activations from the
// program's pool until its ticket is used up. The embeddings are L2-normalised here, at the end of
// every network.
//
// A tower is for one goroutine and, because backends may be, for one OS thread (core/plugin/sdk sees to both).
package tower

import (
	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/graph"
	"tandem/core/engine/nn"
	"tandem/core/engine/program"
	"tandem/core/fault"
	"tandem/core/media/token"
)

// The statistics of CLIP's training pictures, by which its encoders normalise (red, green, blue).
var (
	CLIPMean = [3]float64{.48145466, .4578275, .40821073}
	CLIPStd  = [3]float64{.26862954, .26130258, .27577711}
)

// Model declares what image and text networks have in common.
type Model interface {
	// Params returns the network's parameters and running statistics.
	Params() *nn.Set
	// Config returns a struct whose JSON a checkpoint must agree with. It leaves out fields that weights do not depend
	// on.
	Config() any
}

// ImageModel is implemented by a network that embeds pictures.
type ImageModel interface {
	Model
	// ImageSize returns the side S of the pictures.
	ImageSize() int
	// Build adds the network to a graph: u8 [B, S, S, 3] → [B, D], not normalised.
	Build(g *nn.Graph, images *graph.Node) *graph.Node
}

// TextModel is implemented by a network that embeds token ids.
type TextModel interface {
	Model
	// ContextLength returns the largest number of tokens of a caption.
	ContextLength() int
	// VocabSize returns the number of rows of the token embedding.
	VocabSize() int
	// FullContext says that padding after a caption influences its embedding, so that every caption is
	// computed at the full context length. Else captions follow each other without padding.
	FullContext() bool
	// Tokenizer makes the tokenizer, learning it from captions where it is to be learned. Nil without
	// an error: there are no captions to learn from, a checkpoint has to bring the tokenizer.
	Tokenizer(captions []string) (token.Tokenizer, error)
	// Build adds the network of a batch to a graph → [batch, D], not normalised. With FullContext ids are
	// i32 [batch, ContextLength], padded with the tokenizer's Pad. Else they are i32 [N]: caption b is rows
	// [Starts[b], Starts[b+1]) of nn.Call; what follows the last is Pad too and belongs to none.
	Build(g *nn.Graph, ids *graph.Node, batch int) *graph.Node
}

// ImageTokenModel is implemented by image networks that also give a vector for each part of a picture.
type ImageTokenModel interface {
	ImageModel
	// TokenCount returns T, the number of a picture's tokens in evaluation. Training may leave some out (patch dropout).
	TokenCount() int
	// BuildTokens adds the network to a graph: u8 [B, S, S, 3] → what Build gives, [B, D], but for rounding, and
	// tokens [B, K, D] with K ≤ T, none of them normalised.
	BuildTokens(g *nn.Graph, images *graph.Node) (embedding, tokens *graph.Node)
}

// TextTokenModel is implemented by text networks that also give a vector for each token of a caption.
type TextTokenModel interface {
	TextModel
	// BuildTokens adds the network to a graph: what Build gives, [batch, D], but for rounding, and tokens, a row for
	// each of ids in their order: [N, D] or, with FullContext, [batch, ContextLength, D]. None are normalised. What
	// stands in rows that belong to no caption, or that follow its end, does not matter.
	BuildTokens(g *nn.Graph, ids *graph.Node, batch int) (embedding, tokens *graph.Node)
}

// Pretrained is implemented by networks that may begin with published weights rather than at random.
type Pretrained interface {
	Model
	// Weights returns a .safetensors file, or a folder with one, as transformers writes it; "" to begin at random. All
	// parameters whose names begin with within must be in it; the others begin at random, like a projection to a space that
	// the published model does not know.
	Weights() (path, within string)
}

// Option changes how a tower works.
type Option func(*encoder)

// WithBackend opens the backend by another way than by Compute.Device: for tests in double precision.
func WithBackend(open func(clip.Compute) (device.Backend, error)) Option {
	return func(e *encoder) { e.open = open }
}

// Image makes an unconfigured image encoder. build makes the network of a config; its errors are
// Configure's.
func Image(build func(clip.EncoderConfig) (ImageModel, error), options ...Option) clip.Encoder {
	return newEncoder(clip.Image, func(c clip.EncoderConfig) (front, error) {
		m, err := build(c)
		if err != nil {
			return nil, err
		}
		return &imageFront{ImageModel: m}, nil
	}, options)
}

// Text makes an unconfigured text encoder. build makes the network of a config; its errors are
// Configure's.
func Text(build func(clip.EncoderConfig) (TextModel, error), options ...Option) clip.Encoder {
	return newEncoder(clip.Text, func(c clip.EncoderConfig) (front, error) {
		m, err := build(c)
		if err != nil {
			return nil, err
		}
		return newTextFront(m, c.Captions)
	}, options)
}

func newEncoder(m clip.Modality, build func(clip.EncoderConfig) (front, error), options []Option) *encoder {
	e := &encoder{modality: m, build: build, open: program.OpenDevice, bucket: bucketElements}
	for _, o := range options {
		o(e)
	}
	e.session = program.NewSession(e.open)
	return e
}

// CheckStd finds standard deviations that pictures cannot be divided by.
func CheckStd(std [3]float64) error {
	for _, s := range std {
		if !(s > 0) {
			return fault.New(fault.Invalid, "%v has a value that is not positive", std).WithPath("with.std").
				WithHint("CLIP's are %v", CLIPStd)
		}
	}
	return nil
}
