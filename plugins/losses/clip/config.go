package main

import (
	"tandem/core/clip"
	"tandem/core/engine/loss"
	"tandem/core/fault"
	"tandem/core/plugin/sdk"
)

// Config holds the with block of a spec.
type Config struct {
	loss.Temperature
	LabelSmoothing float64 `with:"label_smoothing" min:"0" max:"0.999" help:"share of the target spread evenly over the batch"`
	Direction      string  `with:"direction" enum:"both,image,text" help:"image: each image finds its text; text: each text its image; both: the mean"`
	HardNegatives  float64 `with:"hard_negatives" min:"0" max:"10" help:"β of Robinson et al. 2021: negatives count in proportion to exp(β·logit), 1 on average; 0: all alike"`
}

// Defaults holds the published settings.
var Defaults = Config{Temperature: loss.PublishedTemperature, Direction: "both"}

// Plugin describes the loss that main serves.
var Plugin = sdk.Loss{
	Name: "clip", Version: "1.1.0", Summary: "symmetric contrastive loss with a learned temperature (CLIP)",
	Config: Defaults, Capabilities: []string{clip.CapBuckets, clip.CapRows},
	New: func() clip.Loss { return newLoss() },
}

// decode reads and checks a with block.
func decode(raw []byte) (Config, error) {
	cfg := Defaults
	if err := sdk.Decode(raw, &cfg); err != nil {
		return cfg, err
	}
	if cfg.HardNegatives > 0 && cfg.LabelSmoothing > 0 {
		return cfg, fault.New(fault.Invalid, "given together with label_smoothing").
			WithPath("with.hard_negatives").WithHint("weights of negatives have no meaning where negatives are targets: give one of the two")
	}
	return cfg, cfg.Check(Defaults.InitTemperature)
}
