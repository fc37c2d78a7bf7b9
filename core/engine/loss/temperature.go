package loss

import (
	"math"

	"tandem/core/fault"
)

// NotGiven marks an InitLogitScale that InitTemperature stands for.
const NotGiven = -1

// A Temperature holds the options of contrastive losses that divide logits by a temperature, learned or not. A
// plugin embeds it in its Config, with defaults of its own.
type Temperature struct {
	InitTemperature float64 `with:"init_temperature" min:"1e-6" max:"1e6" help:"temperature at the start; logits are cosines divided by it"`
	InitLogitScale  float64 `with:"init_logit_scale" min:"-1" max:"50" help:"ln(1/temperature) at the start, in place of init_temperature; -1: not given"`
	Learnable       bool    `with:"learnable" help:"train the logit scale; false keeps the temperature fixed"`
	MaxLogitScale   float64 `with:"max_logit_scale" min:"0" max:"50" help:"the logit scale is clamped to [0, this] after each step; ln 100 is the published value"`
}

// PublishedTemperature holds CLIP's settings (Radford et al. 2021, §2.5).
var PublishedTemperature = Temperature{InitTemperature: .07, InitLogitScale: NotGiven, Learnable: true, MaxLogitScale: math.Log(100)}

// Start returns the logit scale at the start, ln(1/temperature).
func (t Temperature) Start() float64 {
	if t.InitLogitScale >= 0 {
		return t.InitLogitScale
	}
	return math.Log(1 / t.InitTemperature)
}

// Check says what is wrong with the options: fault.Invalid with the option's path, or nil. Both initial values are
// too many when InitTemperature is not its default.
func (t Temperature) Check(defaultInit float64) error {
	s := t.Start()
	switch {
	case t.InitLogitScale >= 0 && t.InitTemperature != defaultInit:
		return fault.New(fault.Invalid, "given together with init_temperature").
			WithPath("with.init_logit_scale").WithHint("init_logit_scale is ln(1/temperature): give one of the two")
	case t.InitLogitScale < 0 && t.InitLogitScale != NotGiven:
		return fault.New(fault.Invalid, "%g is below the minimum 0", t.InitLogitScale).WithPath("with.init_logit_scale")
	case t.Learnable && (s < 0 || s > t.MaxLogitScale):
		return fault.New(fault.Invalid, "the logit scale would start at %.4g, outside [0, %.4g]", s, t.MaxLogitScale).
			WithPath("with.init_temperature").
			WithHint("choose a temperature in [%.4g, 1], raise max_logit_scale, or set learnable: false", math.Exp(-t.MaxLogitScale))
	}
	return nil
}

// Scalar returns the parameter LogitScale.
func (t Temperature) Scalar() Scalar {
	return Scalar{Name: LogitScale, Init: t.Start(), Min: 0, Max: t.MaxLogitScale}
}

// ReportTemperature gives, for Definition.Report, the temperature and its inverse, of which the parameter LogitScale
// is the logarithm.
func ReportTemperature(value func(name string) float64) map[string]float64 {
	s := value(LogitScale)
	return map[string]float64{"logit_scale": math.Exp(s), "temperature": math.Exp(-s)}
}
