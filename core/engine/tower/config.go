package tower

import (
	"slices"

	"tandem/core/clip"
	"tandem/core/engine/nn"
	"tandem/core/fault"
)

// check finds what is wrong with a config whatever the network.
func check(c clip.EncoderConfig) error {
	switch {
	case c.EmbedDim < 1:
		return fault.New(fault.Invalid, "%d, want at least 1", c.EmbedDim).WithPath("embed_dim")
	case c.Compute.Threads < 1:
		return fault.New(fault.Invalid, "%d, want at least 1", c.Compute.Threads).WithPath("compute.threads")
	case !slices.Contains([]string{"", "f32", "tf32", "bf16"}, c.Compute.Precision):
		return fault.New(fault.Invalid, "%q is not supported", c.Compute.Precision).WithPath("compute.precision").
			WithHint("precision: f32, tf32 or bf16")
	}
	return nil
}

// freeze marks what is not trained.
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

// frozen says whether a parameter is.
func (p *params) frozen(name string) bool {
	_, trained := p.trained.Find(name)
	return !trained
}
