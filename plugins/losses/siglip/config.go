package main

import (
	"math"

	"tandem/core/clip"
	"tandem/core/engine/loss"
	"tandem/core/fault"
	"tandem/core/plugin/sdk"
)

// Config holds the with block of a spec.
type Config struct {
	InitTemperature float64 `with:"init_temperature" min:"1e-6" max:"1e6" help:"temperature at the start; logits are cosines divided by it, plus the bias"`
	InitLogitScale  float64 `with:"init_logit_scale" min:"-1" max:"50" help:"ln(1/temperature) at the start, in place of init_temperature; -1: not given"`
	InitBias        float64 `with:"init_bias" min:"-1e4" max:"1e4" help:"logit bias at the start"`
	AutoBias        bool    `with:"auto_bias" help:"start the logit bias at ln(p/(1-p)), p = 1/batch size, in place of init_bias: the better start of a small batch"`
	Learnable       bool    `with:"learnable" help:"train the logit scale and bias; false keeps both fixed"`
	MaxLogitScale   float64 `with:"max_logit_scale" min:"0" max:"50" help:"the logit scale is clamped to [0, this] after each step"`
}

// Defaults holds the published settings; the clamp is OpenCLIP's.
var Defaults = Config{
	InitTemperature: 0.1, InitLogitScale: loss.NotGiven, InitBias: -10, Learnable: true, MaxLogitScale: math.Log(100),
}

// Plugin describes the loss that main serves.
var Plugin = sdk.Loss{
	Name: "siglip", Version: "1.0.0", Summary: "pairwise sigmoid loss with a learned temperature and bias (SigLIP)",
	Config: Defaults,
	New:    func() clip.Loss { return newLoss() },
}

// decode reads and checks a with block.
func decode(raw []byte) (Config, error) {
	cfg := Defaults
	if err := sdk.Decode(raw, &cfg); err != nil {
		return cfg, err
	}
	if cfg.AutoBias && cfg.InitBias != Defaults.InitBias {
		return cfg, fault.New(fault.Invalid, "given together with init_bias").
			WithPath("with.auto_bias").WithHint("auto_bias computes the bias from the batch size: give one of the two")
	}
	return cfg, cfg.temperature().Check(Defaults.InitTemperature)
}

func (c Config) temperature() loss.Temperature {
	return loss.Temperature{
		InitTemperature: c.InitTemperature, InitLogitScale: c.InitLogitScale, Learnable: c.Learnable, MaxLogitScale: c.MaxLogitScale,
	}
}

// bias returns the logit bias at the start. With auto_bias it is the log-odds of a pair's being a match:
// equal cosines then get the probability that is right on average.
func (c Config) bias(batch int) (float64, error) {
	if !c.AutoBias {
		return c.InitBias, nil
	}
	if batch < 2 {
		return 0, fault.New(fault.Invalid, "a batch of %d has no bias to start from", batch).WithPath("with.auto_bias")
	}
	return -math.Log(float64(batch - 1)), nil
}
