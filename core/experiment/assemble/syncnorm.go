package assemble

import (
	"context"

	"tandem/core/clip"
	"tandem/core/fault"
)

// towerConfig returns the configuration of one of the model's towers, without captions.
func (m *Model) towerConfig(role string) clip.EncoderConfig {
	c := encoderConfig(m.Spec, role, m.threads)
	c.SyncNorm = m.syncsNorm(role)
	return c
}

// syncsNorm reports whether a tower normalises its batches together with those of other ranks, when there are any.
func (m *Model) syncsNorm(role string) bool {
	return m.Spec.Train.SyncNorm && !towerOf(m.Spec, role).Freeze.All && hasCapability(m.Processes[role].Descriptor, clip.CapExchange)
}

// Exchange gives the towers that normalise their batches together with other ranks a function that adds values up over all
// ranks, once the model is open. It says which of image and text tower do so.
func (m *Model) Exchange(ctx context.Context, sum func(context.Context, []float64) error) (exchanges [2]bool, err error) {
	for i, role := range []string{RoleImage, RoleText} {
		if !m.syncsNorm(role) {
			continue
		}
		x, ok := []clip.Encoder{m.Image, m.Text}[i].(clip.Exchanger)
		if !ok {
			return exchanges, fault.New(fault.Internal, "the %s tower has the capability %q and no exchange", role, clip.CapExchange)
		}
		if err := x.Exchange(ctx, sum); err != nil {
			return exchanges, Place(m.Spec, err, role)
		}
		exchanges[i] = true
	}
	return exchanges, nil
}
