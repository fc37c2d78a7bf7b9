package tower

import (
	"tandem/core/clip"
	"tandem/core/engine/checkpoint"
	"tandem/core/engine/graph"
	"tandem/core/engine/nn"
	"tandem/core/engine/weights"
	"tandem/core/fault"
)

// adapt gives the network of a configuration the adapters that it asks for. Which parameters are matrices of layers is
// read off the network's graph.
func adapt(f front, c clip.EncoderConfig) error {
	l := c.LoRA
	if l == nil {
		return nil
	}
	if c.Freeze.Any() {
		return fault.New(fault.Invalid, "the encoder is to be frozen, and to have adapters").WithPath("lora").
			WithHint("lora freezes everything but its adapters and what lora.train names; leave freeze out")
	}
	const batch = 2
	g := nn.NewGraph(f.Params(), graph.Options{})
	f.network(g, batch, f.maxTokens(batch))
	if err := g.Err(); err != nil {
		return err
	}
	err := f.Params().Adapt(g.Layers(), nn.LoRA{Rank: l.Rank, Alpha: l.Alpha, Dropout: l.Dropout, Targets: l.Targets, Train: l.Train})
	if e, ok := err.(*fault.Error); ok {
		return e.WithPath("lora." + e.Path)
	}
	return err
}

// withoutAdapters leaves adapters out of arrays: published weights have none.
func withoutAdapters(arrays []checkpoint.Array) (list []checkpoint.Array) {
	for _, a := range arrays {
		if !weights.IsAdapter(a.Name) {
			list = append(list, a)
		}
	}
	return list
}
