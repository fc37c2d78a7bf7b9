package tower

import (
	"fmt"
	"math"

	"tandem/core/clip"
	"tandem/core/engine/nn"
	"tandem/core/engine/program"
	"tandem/core/fault"
)

// validate finds what is wrong with a config whatever the network.
func validate(c clip.EncoderConfig) error {
	switch {
	case c.EmbedDim < 1:
		return fault.New(fault.Invalid, "%d, want at least 1", c.EmbedDim).WithPath("embed_dim")
	case c.Compute.Threads < 1:
		return fault.New(fault.Invalid, "%d, want at least 1", c.Compute.Threads).WithPath("compute.threads")
	}
	return program.CheckPrecision(c.Compute.Precision)
}

// freeze marks the parameters that a config does not train.
func freeze(set *nn.Set, f clip.Freeze) error {
	if f.All {
		set.FreezeAll()
	}
	if f.Blocks != nil {
		if err := set.FreezeBlocks(*f.Blocks); err != nil {
			return at("freeze.blocks", err)
		}
	}
	for _, glob := range f.Params {
		if err := set.FreezeParams(glob); err != nil {
			return at("freeze.params", err)
		}
	}
	return nil
}

// at gives a fault a path.
func at(path string, err error) error {
	if e, ok := err.(*fault.Error); ok {
		return e.WithPath(path)
	}
	return err
}

// setRates gives the parameters the learning rates and weight decays that differ from the optimiser's own. It checks
// what else the optimiser needs of a tower.
func setRates(set *nn.Set, o clip.Optimizer) error {
	outside := func(path string, v float64, want string) *fault.Error {
		return fault.New(fault.Invalid, "%v, want %s", v, want).WithPath(path)
	}
	if !(o.LayerDecay >= 0 && o.LayerDecay <= 1) {
		return outside("optimizer.layer_decay", o.LayerDecay, "more than 0, at most 1")
	}
	if o.LayerDecay != 0 && o.LayerDecay != 1 {
		if err := set.DecayLayers(o.LayerDecay); err != nil {
			return at("optimizer.layer_decay", err)
		}
	}
	if !(o.EMADecay >= 0 && o.EMADecay < 1) {
		return outside("optimizer.ema_decay", o.EMADecay, "a number in [0, 1)")
	}
	for i, g := range o.Groups {
		path := fmt.Sprintf("optimizer.groups[%d]", i)
		if s := g.LRScale; s != nil && (!(*s > 0) || math.IsInf(*s, 0)) {
			return outside(path+".lr_scale", *s, "more than 0").WithHint("freeze: {params: [a glob]} leaves parameters as they are")
		}
		if d := g.WeightDecay; d != nil && (!(*d >= 0) || math.IsInf(*d, 0)) {
			return outside(path+".weight_decay", *d, "0 or more")
		}
		if g.Start < 0 {
			return outside(path+".start", float64(g.Start), "0 or more")
		}
		if err := set.Group(g.Params, g.LRScale, g.WeightDecay, g.Start); err != nil {
			return at(path+".params", err)
		}
	}
	return nil
}
