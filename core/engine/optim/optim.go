// Package optim holds the mathematics of training steps: optimisers over flat device buffers, and learning
// rate schedules. It knows no graphs and no models.
package optim

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"tandem/core/engine/device"
	"tandem/core/fault"
)

// Config chooses an optimiser. Fields that an optimiser does not name are ignored by it. What may differ from
// parameter to parameter is in Segment.
type Config struct {
	// Name chooses "adamw" (Loshchilov & Hutter 2019: Beta1, Beta2, Eps), "sgd" (Momentum) or "lion" (Chen et al.
	// 2023: Beta1, Beta2).
	Name         string
	Beta1, Beta2 float64 // decay of the first and second moment, in [0, 1)
	Eps          float64 // added to √v̂, above 0
	Momentum     float64 // of sgd, in [0, 1)
}

// Names lists the optimisers.
var Names = []string{"adamw", "sgd", "lion"}

// Check says what is wrong with a configuration: fault.Invalid with the field's path, or nil.
func (c Config) Check() error {
	invalid := func(path string, v float64, want string) error {
		return fault.New(fault.Invalid, "%v, want %s", v, want).WithPath(path)
	}
	inUnit := func(v float64) bool { return v >= 0 && v < 1 }
	adam := c.Name == "adamw"
	switch {
	case !slices.Contains(Names, c.Name):
		return fault.New(fault.Invalid, "there is no optimizer %q", c.Name).WithPath("name").
			WithHint("choose one of %s", strings.Join(Names, ", "))
	case c.Name == "sgd" && !inUnit(c.Momentum):
		return invalid("momentum", c.Momentum, "a number in [0, 1)")
	case c.Name != "sgd" && !inUnit(c.Beta1):
		return invalid("beta1", c.Beta1, "a number in [0, 1)")
	case c.Name != "sgd" && !inUnit(c.Beta2):
		return invalid("beta2", c.Beta2, "a number in [0, 1)")
	case adam && !(c.Eps > 0):
		return invalid("eps", c.Eps, "more than 0")
	}
	return nil
}

// A Segment names a range [Off, Off+N) of the flat buffers that is trained at one rate.
type Segment struct {
	Off, N  int
	LRScale float64 // multiplies the learning rate; above 0
	Decay   float64 // decoupled for adamw and lion: p ← p − lr·decay·p; part of the gradient for sgd
	Start   int     // steps that touch neither it nor its state; the one after them counts as its first
}

// alike reports whether one pass may step both segments.
func (s Segment) alike(other Segment) bool {
	return s.LRScale == other.LRScale && s.Decay == other.Decay && s.Start == other.Start
}

// check says what is wrong with the rates of a segment: fault.Invalid with the field's path, or nil.
func (s Segment) check() error {
	switch {
	case !(s.Decay >= 0) || math.IsInf(s.Decay, 0):
		return fault.New(fault.Invalid, "%v, want 0 or more", s.Decay).WithPath("weight_decay")
	case s.Start < 0:
		return fault.New(fault.Invalid, "%d, want 0 or more", s.Start).WithPath("start")
	case !(s.LRScale > 0) || math.IsInf(s.LRScale, 0):
		return fault.New(fault.Invalid, "%v, want more than 0", s.LRScale).WithPath("lr_scale").WithHint("freeze what is not to be trained")
	}
	return nil
}

// Padding limits the gaps between segments that count as alignment, not as parameters: such gaps hold zeros in
// parameters and gradients, and every optimiser here keeps them zero.
const Padding = 16

// Optimizer steps the parameters in a flat buffer by gradients in another of the same length.
type Optimizer struct {
	backend       device.Backend
	params, grads device.Buffer
	spans         []span
	state         []State
	sumSquares    device.Exec
	norm          device.Buffer
	cfg           Config
	kernels       map[int]device.Exec // of StepAlong, by the number of parameters
}

// A State names one state buffer, laid out as the parameters are: "m" and "v" of adamw, "v" of sgd, "m" of lion.
type State struct {
	Name   string
	Buffer device.Buffer // Real, as long as the parameters
}

// A span joins neighbouring segments of equal rates.
type span struct {
	off, n         int
	lrScale, decay float64
	start          int
	exec           device.Exec
	args           []device.Buffer
}

// New makes an optimiser. Segments may come in any order but must not overlap; parameters outside all
// of them are not touched. A bad configuration or segment is fault.Invalid; Alloc's errors pass.
func New(cfg Config, backend device.Backend, params, grads device.Buffer, segments []Segment) (*Optimizer, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if params.Len() != grads.Len() {
		return nil, fault.New(fault.Invalid, "%d parameters, %d gradients", params.Len(), grads.Len()).WithOp("optim")
	}
	merged, err := merge(segments, params.Len())
	if err != nil {
		return nil, err
	}
	o := &Optimizer{backend: backend, params: params, grads: grads, cfg: cfg, kernels: map[int]device.Exec{}}
	if err := o.prepare(merged); err != nil {
		o.Close()
		return nil, err
	}
	return o, nil
}

// merge joins neighbours of equal rates, across padding.
func merge(segments []Segment, total int) ([]Segment, error) {
	sorted := slices.SortedFunc(slices.Values(segments), func(a, b Segment) int { return cmp.Compare(a.Off, b.Off) })
	var merged []Segment
	end := 0
	for _, s := range sorted {
		if s.N < 1 || s.Off < end || s.Off+s.N > total {
			return nil, fault.New(fault.Invalid, "segment [%d, %d) is empty, overlaps another or leaves the buffer of %d", s.Off, s.Off+s.N, total).
				WithOp("optim")
		}
		if err := s.check(); err != nil {
			return nil, err
		}
		if last := len(merged) - 1; last >= 0 && merged[last].alike(s) && s.Off-end < Padding {
			merged[last].N = s.Off + s.N - merged[last].Off
		} else {
			merged = append(merged, s)
		}
		end = s.Off + s.N
	}
	return merged, nil
}

func (o *Optimizer) prepare(segments []Segment) (err error) {
	total := o.params.Len()
	for _, name := range o.cfg.Slots() {
		buffer, err := o.backend.Alloc(device.Real, total)
		if err != nil {
			return err
		}
		o.state = append(o.state, State{name, buffer})
	}
	if o.norm, err = o.backend.Alloc(device.Real, 1); err != nil {
		return err
	}
	if o.sumSquares, err = o.backend.Prepare(device.SumSquares{N: total}); err != nil {
		return err
	}
	for _, s := range segments {
		sp := span{off: s.Off, n: s.N, lrScale: s.LRScale, decay: s.Decay, start: s.Start, args: []device.Buffer{o.backend.View(o.grads, s.Off, s.N), o.backend.View(o.params, s.Off, s.N)}}
		for _, st := range o.state {
			sp.args = append(sp.args, o.backend.View(st.Buffer, s.Off, s.N))
		}
		if sp.exec, err = o.backend.Prepare(o.cfg.kernel(s.N)); err != nil {
			return err
		}
		o.spans = append(o.spans, sp)
	}
	return nil
}

// Slots returns the names of the state buffers, each as long as the parameters.
func (c Config) Slots() []string {
	return map[string][]string{"adamw": {"m", "v"}, "sgd": {"v"}, "lion": {"m"}}[c.Name]
}

func (c Config) kernel(n int) device.Kernel {
	switch c.Name {
	case "sgd":
		return device.SGD{N: n, Momentum: c.Momentum}
	case "lion":
		return device.Lion{N: n, Beta1: c.Beta1, Beta2: c.Beta2}
	}
	return device.AdamW{N: n, Beta1: c.Beta1, Beta2: c.Beta2, Eps: c.Eps}
}

// Step updates parameters and state. step is the number of this update, from 1; lr the learning rate, which each
// segment's LRScale multiplies;
// gradScale multiplies the gradients first (clipping, or 1/k after k accumulated micro-batches).
// Gradients stay as they are.
func (o *Optimizer) Step(step int, lr, gradScale float64) {
	for _, s := range o.spans {
		o.run(s, s.exec, s.args, step, lr, gradScale)
	}
	o.backend.ParamsChanged()
}

// run steps parameters of a span: gradients, parameters and state are args.
func (o *Optimizer) run(s span, exec device.Exec, args []device.Buffer, step int, lr, gradScale float64) {
	switch {
	case step <= s.start:
	case o.cfg.Name == "adamw":
		exec.Run(args, s.lrScale*lr, s.decay, gradScale, float64(step-s.start))
	default:
		exec.Run(args, s.lrScale*lr, s.decay, gradScale)
	}
}

// GradNormSquared adds up the squares of all gradients; NaN or infinite when one of them is.
func (o *Optimizer) GradNormSquared() float64 {
	o.sumSquares.Run([]device.Buffer{o.grads, o.norm})
	var sum [1]float32
	o.backend.Read(sum[:], o.norm)
	return float64(sum[0])
}

// ZeroGrad clears the gradients.
func (o *Optimizer) ZeroGrad() { o.backend.Zero(o.grads) }

// States returns the state buffers, to be saved with the parameters and written back on resume.
func (o *Optimizer) States() []State { return slices.Clone(o.state) }

// Close frees state and kernels.
func (o *Optimizer) Close() {
	for _, s := range o.state {
		o.backend.Free(s.Buffer)
	}
	if o.norm != nil {
		o.backend.Free(o.norm)
	}
	for _, s := range o.spans {
		if r, ok := s.exec.(device.Releaser); ok {
			r.Release()
		}
	}
	for _, exec := range o.kernels {
		if r, ok := exec.(device.Releaser); ok {
			r.Release()
		}
	}
	if r, ok := o.sumSquares.(device.Releaser); ok {
		r.Release()
	}
	o.state, o.norm, o.spans, o.sumSquares, o.kernels = nil, nil, nil, nil, nil
}
