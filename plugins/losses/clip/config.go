package main

import (
	"math"

	"tandem/core/clip"
	"tandem/core/engine/loss"
	"tandem/core/plugin/sdk"
)

// Config holds the with block of a spec.
type Config struct {
	InitTemperature float64 `with:"init_temperature" min:"1e-6" max:"1e6" help:"temperature at the start; logits are cosines divided by it"`
	InitLogitScale  float64 `with:"init_logit_scale" min:"-1" max:"50" help:"ln(1/temperature) at the start, in place of init_temperature; -1: not given"`
	Learnable       bool    `with:"learnable" help:"train the logit scale; false keeps the temperature fixed"`
	MaxLogitScale   float64 `with:"max_logit_scale" min:"0" max:"50" help:"the logit scale is clamped to [0, this] after each step; ln 100 is the published value"`
	LabelSmoothing  float64 `with:"label_smoothing" min:"0" max:"0.999" help:"share of the target spread evenly over the batch"`
	Direction       string  `with:"direction" enum:"both,image,text" help:"image: each image finds its text; text: each text its image; both: the mean"`
}

// Defaults holds the published settings.
var Defaults = Config{
	InitTemperature: 0.07, InitLogitScale: loss.NotGiven, Learnable: true, MaxLogitScale: math.Log(100), Direction: "both",
}

// Plugin describes the loss that main serves.
var Plugin = sdk.Loss{
	Name: "clip", Version: "1.0.0", Summary: "symmetric contrastive loss with a learned temperature (CLIP)",
	Config: Defaults,
	New:    func() clip.Loss { return newLoss() },
}

// decode reads and checks a with block.
func decode(raw []byte) (Config, error) {
	cfg := Defaults
	if err := sdk.Decode(raw, &cfg); err != nil {
		return cfg, err
	}
	return cfg, cfg.temperature().Check(Defaults.InitTemperature)
}

func (c Config) temperature() loss.Temperature {
	return loss.Temperature{
		InitTemperature: c.InitTemperature, InitLogitScale: c.InitLogitScale, Learnable: c.Learnable, MaxLogitScale: c.MaxLogitScale,
	}
}
