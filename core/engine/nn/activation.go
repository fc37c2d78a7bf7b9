package nn

import "tandem/core/engine/device"

// Activation names an elementwise function.
type Activation = device.Activation

// The activations.
const (
	Identity  = device.Identity
	ReLU      = device.ReLU
	GELU      = device.GELU      // x·Φ(x), the exact one with erf
	QuickGELU = device.QuickGELU // x·σ(1.702x), that of OpenAI's models
	TanhGELU  = device.TanhGELU  // GELU's approximation by tanh, that of SigLIP 2
)

// ActivationOf returns the activation that a with block names: gelu, quick_gelu or gelu_tanh. It panics for others, which the
// schema refuses.
func ActivationOf(name string) Activation {
	switch name {
	case "gelu":
		return GELU
	case "quick_gelu":
		return QuickGELU
	case "gelu_tanh":
		return TanhGELU
	}
	panic("nn: no activation " + name)
}
