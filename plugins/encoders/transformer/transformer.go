package main

import (
	"tandem/core/clip"
	"tandem/core/engine/tower"
	"tandem/core/fault"
	"tandem/core/plugin/sdk"
)

// Config holds the with block of a spec, under OpenCLIP's names where it has them. A checkpoint need not agree in the
// paths of the merges and of tokenizer.json: it holds the tokenizer itself.
type Config struct {
	ContextLength int     `with:"context_length" json:"context_length" min:"2" max:"1048576" help:"tokens of a caption, start and end included; longer ones are cut"`
	VocabSize     int     `with:"vocab_size" json:"vocab_size" min:"258" max:"16777216" help:"rows of the token embedding; the largest vocabulary that tokenizer bpe may learn"`
	Width         int     `with:"width" json:"width" min:"1" max:"1048576" help:"channels of a token; a multiple of heads"`
	Heads         int     `with:"heads" json:"heads" min:"1" help:"attention heads"`
	Layers        int     `with:"layers" json:"layers" min:"0" max:"1024" help:"residual attention blocks"`
	MLPRatio      float64 `with:"mlp_ratio" json:"mlp_ratio" min:"0.125" max:"1024" help:"hidden width of the MLP over width"`
	Act           string  `with:"act" json:"act" enum:"gelu,quick_gelu,gelu_tanh" help:"activation of the MLP; OpenAI's weights want quick_gelu, SigLIP 2's gelu_tanh"`
	Causal        bool    `with:"causal" json:"causal" help:"tokens see only what precedes them"`
	PoolType      string  `with:"pool_type" json:"pool_type" enum:"argmax,eos,first,last,mean" help:"the token whose feature stands for the caption: the largest id, the end of text, the first, the last of the context, or the mean of the caption's"`
	ProjBias      bool    `with:"proj_bias" json:"proj_bias,omitempty" help:"a bias in the projection, as SigLIP has it"`
	NormEps       float64 `with:"norm_eps" json:"norm_eps,omitempty" min:"0" max:"1" help:"eps of the layer norms; 0: 1e-5; SigLIP's is 1e-6"`
	Tokenizer     string  `with:"tokenizer" json:"tokenizer" enum:"bpe,clip,byte,hf" help:"byte pairs learned from the training captions, CLIP's published vocabulary, bytes, or a tokenizer.json of Hugging Face"`
	TokenizerFile string  `with:"tokenizer_file" json:"-" type:"path" help:"the tokenizer.json of tokenizer hf"`
	Merges        string  `with:"merges" json:"-" type:"path" help:"another merges file for tokenizer clip, of the form of bpe_simple_vocab_16e6.txt; without it CLIP's own, which are built in"`
}

// Defaults describes CLIP's base models.
var Defaults = Config{
	ContextLength: 77, VocabSize: 49408, Width: 512, Heads: 8, Layers: 12, MLPRatio: 4,
	Act: "gelu", Causal: true, PoolType: "argmax", Tokenizer: "bpe",
}

// Plugin describes the encoder to the runner.
var Plugin = sdk.Encoder{
	Name: "transformer", Version: "1.0.0", Modality: clip.Text,
	Summary:      "text transformer of CLIP and SigLIP",
	Capabilities: []string{clip.CapVocabulary, clip.CapFreeze, clip.CapGroups, clip.CapStart, clip.CapLoRA, clip.CapONNX, clip.CapEMA, clip.CapBuckets, clip.CapNCCL},
	Outputs:      []string{clip.OutputTokens},
	Config:       Defaults,
	Relations:    []clip.Relation{{Rule: "multiple_of", Field: "width", Of: "heads"}},
	New:          func() clip.Encoder { return tower.Text(build) },
}

// check finds what the schema cannot say.
func (c Config) check() error {
	switch {
	case c.Width%c.Heads != 0:
		return fault.New(fault.Invalid, "%d is no multiple of heads %d", c.Width, c.Heads).
			WithPath("with.width").WithHint("every head has width / heads channels")
	case c.Tokenizer == "bpe" && c.VocabSize < 514:
		return fault.New(fault.Invalid, "%d is too small for tokenizer bpe", c.VocabSize).WithPath("with.vocab_size").
			WithHint("at least 514: every byte, within and at the end of a word, start and end; or tokenizer: byte")
	case c.Tokenizer == "hf" && c.TokenizerFile == "":
		return fault.New(fault.Invalid, "is required by tokenizer hf").WithPath("with.tokenizer_file").
			WithHint("the path of a tokenizer.json, as models of Hugging Face have")
	case c.Tokenizer != "hf" && c.TokenizerFile != "":
		return fault.New(fault.Invalid, "is of no use to tokenizer %s", c.Tokenizer).WithPath("with.tokenizer_file").
			WithHint("tokenizer: hf")
	case c.Tokenizer != "clip" && c.Merges != "":
		return fault.New(fault.Invalid, "is of no use to tokenizer %s", c.Tokenizer).WithPath("with.merges").
			WithHint("tokenizer: clip")
	}
	return nil
}

// build makes the model of a with block.
func build(c clip.EncoderConfig) (tower.TextModel, error) {
	cfg := Defaults
	if err := sdk.Decode(c.With, &cfg); err != nil {
		return nil, err
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return newModel(cfg, c.EmbedDim), nil
}
