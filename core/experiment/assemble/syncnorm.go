package assemble

import (
	"context"

	"tandem/core/clip"
	"tandem/core/fault"
)

// towerConfig returns the configuration of one of the model's towers, without captions.
func (m *Model) towerConfig(role string) clip.EncoderConfig {
	c := encoderConfig(m.Spec, role, m.threads)
	c.SyncNorm, c.Compute.Communicator = m.syncsNorm(role), m.communicators[role]
	return c
}

// syncsNorm reports whether a tower normalises its batches together with those of other ranks, when there are any.
func (m *Model) syncsNorm(role string) bool { return m.Spec.Train.SyncNorm && m.canExchange(role) }

func (m *Model) canExchange(role string) bool {
	return !towerOf(m.Spec, role).Freeze.All && hasCapability(m.Processes[role].Descriptor, clip.CapExchange)
}

// Alike reports whether the towers of all ranks compute the same in an evaluation. A tower in Python that is trained may have running
// statistics of its own rank, and no exchange to share them.
func (m *Model) Alike() bool {
	for i, role := range []string{RoleImage, RoleText} {
		if !m.Frozen[i] && m.Processes[role].Binary.Interpreter != "" && !m.canExchange(role) {
			return false
		}
	}
	return true
}

// Exchange gives the towers that exchange with other ranks a function that adds values up over all ranks, once the model is
// open. It says which of image and text tower then do so while others might (train.Parts.Exchanges): those whose backward passes
// exchange, or both when both exchange at all.
func (m *Model) Exchange(ctx context.Context, sum func(context.Context, []float64) error) (exchanges [2]bool, err error) {
	able := [2]bool{m.canExchange(RoleImage), m.canExchange(RoleText)}
	for i, role := range []string{RoleImage, RoleText} {
		if !able[i] {
			continue
		}
		x, ok := []clip.Encoder{m.Image, m.Text}[i].(clip.Exchanger)
		if !ok {
			return exchanges, fault.New(fault.Internal, "the %s tower has the capability %q and no exchange", role, clip.CapExchange)
		}
		if err := x.Exchange(ctx, sum); err != nil {
			return exchanges, Place(m.Spec, err, role)
		}
		exchanges[i] = m.Spec.Train.SyncNorm || able == [2]bool{true, true}
	}
	return exchanges, nil
}
