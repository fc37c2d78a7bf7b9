package tower

import (
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
	at := func(path string, err error) error {
		if e, ok := err.(*fault.Error); ok {
			return e.WithPath(path)
		}
		return err
	}
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

// isFrozen reports whether a parameter is not trained.
func (p *params) isFrozen(name string) bool {
	_, trained := p.trained.Find(name)
	return !trained
}
