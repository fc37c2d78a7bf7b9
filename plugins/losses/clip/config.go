package main

import (
	"math"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/sdk"
)

// Config is the with block of a spec.
type Config struct {
	InitTemperature float64 `with:"init_temperature" min:"1e-6" max:"1e6" help:"temperature at the start; logits are cosines divided by it"`
	InitLogitScale  float64 `with:"init_logit_scale" min:"-1" max:"50" help:"ln(1/temperature) at the start, in place of init_temperature; -1: not given"`
	Learnable       bool    `with:"learnable" help:"train the logit scale; false keeps the temperature fixed"`
	MaxLogitScale   float64 `with:"max_logit_scale" min:"0" max:"50" help:"the logit scale is clamped to [0, this] after each step; ln 100 is the published value"`
	LabelSmoothing  float64 `with:"label_smoothing" min:"0" max:"0.999" help:"share of the target spread evenly over the batch"`
	Direction       string  `with:"direction" enum:"both,image,text" help:"image: each image finds its text; text: each text its image; both: the mean"`
}

// Defaults are the published settings.
var Defaults = Config{
	InitTemperature: 0.07, InitLogitScale: -1, Learnable: true, MaxLogitScale: math.Log(100), Direction: "both",
}

// Plugin is what main serves.
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
	s := cfg.initial()
	switch {
	case cfg.InitLogitScale >= 0 && cfg.InitTemperature != Defaults.InitTemperature:
		return cfg, fault.New(fault.Invalid, "given together with init_temperature").
			WithPath("with.init_logit_scale").WithHint("init_logit_scale is ln(1/temperature): give one of the two")
	case cfg.InitLogitScale < 0 && cfg.InitLogitScale != -1:
		return cfg, fault.New(fault.Invalid, "%g is below the minimum 0", cfg.InitLogitScale).WithPath("with.init_logit_scale")
	case cfg.Learnable && (s < 0 || s > cfg.MaxLogitScale):
		return cfg, fault.New(fault.Invalid, "the logit scale would start at %.4g, outside [0, %.4g]", s, cfg.MaxLogitScale).
			WithPath("with.init_temperature").
			WithHint("choose a temperature in [%.4g, 1], raise max_logit_scale, or set learnable: false", math.Exp(-cfg.MaxLogitScale))
	}
	return cfg, nil
}

// initial is ln(1/temperature) at the start.
func (c Config) initial() float64 {
	if c.InitLogitScale >= 0 {
		return c.InitLogitScale
	}
	return math.Log(1 / c.InitTemperature)
}
