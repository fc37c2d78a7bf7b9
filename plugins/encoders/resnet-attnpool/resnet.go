package main

import (
	"tandem/core/clip"
	"tandem/core/engine/tower"
	"tandem/core/fault"
	"tandem/core/plugin/sdk"
)

// Config holds the with block of a spec, under OpenCLIP's names where it has them.
type Config struct {
	ImageSize  int        `with:"image_size" json:"image_size" min:"32" max:"16384" help:"side of the square pictures in pixels; a multiple of 32"`
	Layers     [4]int     `with:"layers" json:"layers" min:"1" max:"1024" help:"bottleneck blocks of the four stages: [3, 4, 6, 3] is RN50"`
	Width      int        `with:"width" json:"width" min:"2" max:"65536" help:"channels of the stem; the last stage has 32 times as many"`
	Heads      int        `with:"heads" json:"heads" min:"0" help:"heads of the attention pool; 0: 32·width / 64"`
	Stem       string     `with:"stem" json:"stem" enum:"clip,plain" help:"three 3×3 convolutions and an average pool, or ResNet's 7×7 and max pool"`
	Downsample string     `with:"downsample" json:"downsample" enum:"avgpool,stride" help:"average pools (CLIP), or convolutions with a stride"`
	Pool       string     `with:"pool" json:"pool" enum:"attention,average" help:"attention pool (CLIP), or global average and a linear layer"`
	Mean       [3]float64 `with:"mean" json:"mean" help:"mean of the red, green and blue of training pictures, in 0–1"`
	Std        [3]float64 `with:"std" json:"std" help:"their standard deviations"`
}

// Defaults describes CLIP's RN50.
var Defaults = Config{
	ImageSize: 224, Layers: [4]int{3, 4, 6, 3}, Width: 64, Stem: "clip", Downsample: "avgpool",
	Pool: "attention", Mean: tower.CLIPMean, Std: tower.CLIPStd,
}

// Plugin describes the encoder to the runner.
var Plugin = sdk.Encoder{
	Name: "resnet-attnpool", Version: "1.0.0", Modality: clip.Image,
	Summary: "CLIP's modified ResNet with attention pooling (RN50, RN101, …)",
	Config:  Defaults, Capabilities: []string{clip.CapFreeze, clip.CapGroups, clip.CapStart, clip.CapLoRA, clip.CapONNX, clip.CapEMA, clip.CapBuckets, clip.CapNCCL, clip.CapPrefetch, clip.CapExchange},
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
	return newModel(cfg, c.EmbedDim), nil
}

// heads returns the number of heads of the attention pool.
func (c Config) heads() int {
	if c.Heads > 0 {
		return c.Heads
	}
	return max(32*c.Width/64, 1)
}

// check finds what the schema cannot say.
func (c Config) check() error {
	switch {
	case c.ImageSize%32 != 0:
		return fault.New(fault.Invalid, "%d is no multiple of 32", c.ImageSize).
			WithPath("with.image_size").WithHint("try %d: five stages halve the side", c.ImageSize/32*32+32)
	case c.Width%2 != 0:
		return fault.New(fault.Invalid, "%d is odd", c.Width).
			WithPath("with.width").WithHint("the stem starts with width / 2 channels")
	case 32*c.Width%c.heads() != 0:
		return fault.New(fault.Invalid, "%d does not divide 32·width = %d", c.heads(), 32*c.Width).
			WithPath("with.heads").WithHint("0 takes heads of 64 channels")
	}
	return tower.CheckStd(c.Std)
}
