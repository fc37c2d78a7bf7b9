package main

import (
	"tandem/core/clip"
	"tandem/core/engine/tower"
	"tandem/core/fault"
	"tandem/core/plugin/sdk"
)

// Config holds the with block of a spec, under OpenCLIP's names. A checkpoint need not agree in patch dropout, which
// has no part in inference.
type Config struct {
	ImageSize    int        `with:"image_size" json:"image_size" min:"1" max:"16384" help:"side of the square pictures in pixels; a multiple of patch_size"`
	PatchSize    int        `with:"patch_size" json:"patch_size" min:"1" max:"16384" help:"side of a patch in pixels"`
	Width        int        `with:"width" json:"width" min:"1" max:"1048576" help:"channels of a token; a multiple of heads"`
	Layers       int        `with:"layers" json:"layers" min:"0" max:"1024" help:"residual attention blocks"`
	Heads        int        `with:"heads" json:"heads" min:"0" help:"attention heads; 0: width / head_width"`
	HeadWidth    int        `with:"head_width" json:"head_width" min:"1" help:"channels of a head, where heads is 0"`
	MLPRatio     float64    `with:"mlp_ratio" json:"mlp_ratio" min:"0.125" max:"1024" help:"hidden width of the MLP over width"`
	Act          string     `with:"act" json:"act" enum:"gelu,quick_gelu,gelu_tanh" help:"activation of the MLP; OpenAI's weights want quick_gelu, some of SigLIP 2's gelu_tanh"`
	PoolType     string     `with:"pool_type" json:"pool_type" enum:"tok,avg,map" help:"class token, mean over the patches, or SigLIP's attention of a learned query to the patches, with an MLP"`
	NoClassToken bool       `with:"no_class_token" json:"no_class_token,omitempty" help:"patches alone, as SigLIP has it"`
	NoLnPre      bool       `with:"no_ln_pre" json:"no_ln_pre,omitempty" help:"no layer norm before the blocks, as SigLIP and CLIPA have it"`
	NoProj       bool       `with:"no_proj" json:"no_proj,omitempty" help:"no projection, as SigLIP has it: embed_dim is width"`
	PatchBias    bool       `with:"patch_bias" json:"patch_bias,omitempty" help:"a bias in the patch embedding, as SigLIP has it"`
	Registers    int        `with:"registers" json:"registers,omitempty" min:"0" max:"1024" help:"learned tokens beside the patches that are dropped at the end (Darcet et al. 2024)"`
	NormEps      float64    `with:"norm_eps" json:"norm_eps,omitempty" min:"0" max:"1" help:"eps of the layer norms; 0: 1e-5; SigLIP's is 1e-6"`
	PatchDropout float64    `with:"patch_dropout" json:"-" min:"0" max:"0.99" help:"share of patches left out in training"`
	Mean         [3]float64 `with:"mean" json:"mean" help:"mean of the red, green and blue of training pictures, in 0–1"`
	Std          [3]float64 `with:"std" json:"std" help:"their standard deviations"`
}

// Defaults describes CLIP's ViT-B/32.
var Defaults = Config{
	ImageSize: 224, PatchSize: 32, Width: 768, Layers: 12, HeadWidth: 64, MLPRatio: 4,
	Act: "gelu", PoolType: "tok", Mean: tower.CLIPMean, Std: tower.CLIPStd,
}

// Plugin describes the encoder to the runner.
var Plugin = sdk.Encoder{
	Name: "vit", Version: "1.0.0", Modality: clip.Image,
	Summary: "Vision Transformer of CLIP and SigLIP (ViT-B/32, B/16, …)",
	Config:  Defaults, Capabilities: []string{clip.CapFreeze, clip.CapGroups, clip.CapStart, clip.CapLoRA, clip.CapONNX, clip.CapEMA, clip.CapBuckets, clip.CapNCCL, clip.CapPrefetch}, Outputs: []string{clip.OutputTokens},
	Relations: []clip.Relation{
		{Rule: "multiple_of", Field: "image_size", Of: "patch_size"},
		{Rule: "multiple_of", Field: "width", Of: "heads"},
	},
	New: func() clip.Encoder { return tower.Image(build) },
}

// build makes the model of a with block.
func build(c clip.EncoderConfig) (tower.ImageModel, error) {
	cfg := Defaults
	if err := sdk.Decode(c.With, &cfg); err != nil {
		return nil, err
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.NoProj && c.EmbedDim != cfg.Width {
		return nil, fault.New(fault.Invalid, "%d is not embed_dim %d, and no_proj leaves no projection between them", cfg.Width, c.EmbedDim).
			WithPath("with.width").WithHint("embed_dim: %d, or no_proj: false", cfg.Width)
	}
	return newModel(cfg, c.EmbedDim), nil
}

// heads returns the number of attention heads.
func (c Config) heads() int {
	if c.Heads > 0 {
		return c.Heads
	}
	return c.Width / c.HeadWidth
}

// check finds what the schema cannot say.
func (c Config) check() error {
	switch {
	case c.ImageSize%c.PatchSize != 0:
		return fault.New(fault.Invalid, "%d is no multiple of patch_size %d", c.ImageSize, c.PatchSize).
			WithPath("with.image_size").WithHint("try %d", c.ImageSize/c.PatchSize*c.PatchSize+c.PatchSize)
	case c.Heads == 0 && c.Width%c.HeadWidth != 0:
		return fault.New(fault.Invalid, "%d is no multiple of head_width %d", c.Width, c.HeadWidth).
			WithPath("with.width").WithHint("set heads, or a head_width that divides width")
	case c.Width%c.heads() != 0:
		return fault.New(fault.Invalid, "%d is no multiple of heads %d", c.Width, c.heads()).
			WithPath("with.width").WithHint("every head has width / heads channels")
	}
	if c.PoolType == "tok" && c.NoClassToken {
		return fault.New(fault.Invalid, "tok pools the class token, which no_class_token leaves out").
			WithPath("with.pool_type").WithHint("pool_type: map or avg")
	}
	return tower.CheckStd(c.Std)
}
