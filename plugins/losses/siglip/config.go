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
	loss.Temperature
	InitBias float64 `with:"init_bias" min:"-1e4" max:"1e4" help:"logit bias at the start, which is added to the scaled cosines; learnable trains or fixes it too"`
	AutoBias bool    `with:"auto_bias" help:"start the logit bias at ln(p/(1-p)), p = 1/batch size, in place of init_bias: the better start of a small batch"`
}

// Defaults holds the published settings; the clamp is OpenCLIP's.
var Defaults = Config{
	Temperature: loss.Temperature{InitTemperature: .1, InitLogitScale: loss.NotGiven, Learnable: true, MaxLogitScale: math.Log(100)},
	InitBias:    -10,
}

// Plugin describes the loss that main serves.
var Plugin = sdk.Loss{
	Name: "siglip", Version: "1.0.0", Summary: "pairwise sigmoid loss with a learned temperature and bias (SigLIP)",
	Config: Defaults, Capabilities: []string{clip.CapBuckets, clip.CapRows},
	New: func() clip.Loss { return newLoss() },
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
	return cfg, cfg.Check(Defaults.InitTemperature)
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
