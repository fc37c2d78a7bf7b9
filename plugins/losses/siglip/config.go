package main

import (
	"math"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/plugin/sdk"
)

// Config is the with block of a spec.
type Config struct {
	InitTemperature float64 `with:"init_temperature" min:"1e-6" max:"1e6" help:"temperature at the start; logits are cosines divided by it, plus the bias"`
	InitLogitScale  float64 `with:"init_logit_scale" min:"-1" max:"50" help:"ln(1/temperature) at the start, in place of init_temperature; -1: not given"`
	InitBias        float64 `with:"init_bias" min:"-1e4" max:"1e4" help:"logit bias at the start"`
	AutoBias        bool    `with:"auto_bias" help:"start the logit bias at ln(p/(1-p)), p = 1/batch size, in place of init_bias: the better start of a small batch"`
	Learnable       bool    `with:"learnable" help:"train the logit scale and bias; false keeps both fixed"`
	MaxLogitScale   float64 `with:"max_logit_scale" min:"0" max:"50" help:"the logit scale is clamped to [0, this] after each step"`
}

// Defaults are the published settings; the clamp is OpenCLIP's.
var Defaults = Config{
	InitTemperature: 0.1, InitLogitScale: -1, InitBias: -10, Learnable: true, MaxLogitScale: math.Log(100),
}

// Plugin is what main serves.
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
	s := cfg.initial()
	switch {
	case cfg.InitLogitScale >= 0 && cfg.InitTemperature != Defaults.InitTemperature:
		return cfg, fault.New(fault.Invalid, "given together with init_temperature").
			WithPath("with.init_logit_scale").WithHint("init_logit_scale is ln(1/temperature): give one of the two")
	case cfg.InitLogitScale < 0 && cfg.InitLogitScale != -1:
		return cfg, fault.New(fault.Invalid, "%g is below the minimum 0", cfg.InitLogitScale).WithPath("with.init_logit_scale")
	case cfg.AutoBias && cfg.InitBias != Defaults.InitBias:
		return cfg, fault.New(fault.Invalid, "given together with init_bias").
			WithPath("with.auto_bias").WithHint("auto_bias computes the bias from the batch size: give one of the two")
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

// bias is the logit bias at the start. With auto_bias it is the log-odds of a pair's being a match:
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
