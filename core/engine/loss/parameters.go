package loss

import (
	"math"
	"strconv"
	"strings"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/graph"
	"tandem/core/engine/optim"
	"tandem/core/engine/weights"
	"tandem/core/fault"
)

const (
	format     = "tandem loss 1"
	slotPrefix = "optim." // of the optimiser's state: optim.m.logit_scale
)

// parameters are the scalars of a loss with their gradients and optimiser.
type parameters struct {
	backend device.Backend
	store   graph.Store
	scalars []Scalar
	offset  map[string]int   // in the flat buffers
	optim   *optim.Optimizer // nil when nothing is learned
	name    string           // of the optimiser; "" when nothing is learned
	current map[string]float64
	touched bool // the gradients on the device are of this step; else they are old
}

// layout is the place of each parameter.
func layout(def Definition) (l graph.Layout) {
	for _, s := range def.Scalars {
		l.Add(s.Name, 1)
	}
	return l
}

func newParameters(backend device.Backend, def Definition, o clip.Optimizer) (*parameters, error) {
	p := &parameters{backend: backend, scalars: def.Scalars, offset: map[string]int{}, current: map[string]float64{}}
	var segments []optim.Segment
	for _, s := range def.Scalars {
		e := p.store.Layout.Add(s.Name, 1)
		p.offset[s.Name] = e.Off
		segments = append(segments, optim.Segment{Off: e.Off, N: e.N})
	}
	var err error
	if p.store.Values, err = backend.Alloc(device.Real, p.store.Layout.Total); err != nil {
		return nil, err
	}
	if p.store.Grads, err = backend.Alloc(device.Real, p.store.Layout.Total); err != nil {
		return nil, err
	}
	for _, s := range def.Scalars {
		p.set(s.Name, float32(s.Init))
	}
	if !def.Learn {
		return p, nil
	}
	p.name = o.Name
	p.optim, err = optim.New(optim.Config{Name: o.Name, Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps, Momentum: o.Momentum},
		backend, p.store.Values, p.store.Grads, segments)
	return p, err
}

// of is the element of a flat buffer that belongs to a parameter.
func (p *parameters) of(name string, flat device.Buffer) device.Buffer {
	return p.backend.View(flat, p.offset[name], 1)
}

func (p *parameters) read(name string, flat device.Buffer) float32 {
	var one [1]float32
	p.backend.Read(one[:], p.of(name, flat))
	return one[0]
}

// set writes a parameter.
func (p *parameters) set(name string, v float32) {
	p.backend.Write(p.of(name, p.store.Values), []float32{v})
	p.backend.ParamsChanged()
	p.current[name] = float64(v)
}

func (p *parameters) value(name string) float64 { return p.current[name] }

// grad is the gradient accumulated since the last step.
func (p *parameters) grad(name string) float64 {
	if p.optim == nil || !p.touched {
		return 0
	}
	return float64(p.read(name, p.store.Grads))
}

// mode says whether a backward pass adds to the gradients or replaces old ones.
func (p *parameters) mode() graph.Mode {
	if p.touched {
		return graph.Accumulate
	}
	return graph.Overwrite
}

// step takes an optimiser step and clamps. The gradients count as zero afterwards.
func (p *parameters) step(step int, lr, gradScale float64) error {
	if step < 1 {
		return fault.New(fault.Invalid, "step %d, steps count from 1", step).WithOp("step")
	}
	if p.optim == nil {
		return nil
	}
	if !p.touched {
		p.optim.ZeroGrad()
	}
	p.optim.Step(step, lr, gradScale)
	p.touched = false
	for _, s := range p.scalars {
		v := p.read(s.Name, p.store.Values)
		p.current[s.Name] = float64(v)
		if clamped := min(max(v, float32(s.Min)), float32(s.Max)); clamped != v && v == v { // a NaN stays to be seen
			p.set(s.Name, clamped)
		}
	}
	return nil
}

// save writes the parameters and the optimiser's state.
func (p *parameters) save(path string) error {
	var tensors []weights.Tensor
	for _, s := range p.scalars {
		tensors = append(tensors, weights.FromF32(s.Name, []float32{p.read(s.Name, p.store.Values)}))
	}
	for _, state := range p.states() {
		for _, s := range p.scalars {
			tensors = append(tensors, weights.FromF32(slotPrefix+state.Name+"."+s.Name, []float32{p.read(s.Name, state.Buffer)}))
		}
	}
	if err := device.Err(p.backend); err != nil {
		return err
	}
	return weights.Write(path, tensors, p.meta())
}

// meta is what must be equal for a checkpoint to fit.
func (p *parameters) meta() map[string]string {
	return map[string]string{"format": format, "learnable": strconv.FormatBool(p.optim != nil), "optimizer": p.name}
}

func (p *parameters) states() []optim.State {
	if p.optim == nil {
		return nil
	}
	return p.optim.States()
}

// load reads what save wrote, or the parameters of a published model. Nothing changes before all is
// checked.
func (p *parameters) load(path string) error {
	f, err := weights.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	meta := f.Metadata()
	published := !strings.HasPrefix(meta["format"], "tandem ")
	if !published {
		want := p.meta()
		for _, key := range []string{"format", "learnable", "optimizer"} {
			if meta[key] != want[key] {
				return fault.New(fault.Invalid, "%s is %q, want %q", key, meta[key], want[key]).
					WithFile(path, 0, 0).WithOp("load")
			}
		}
	}
	values := make([]float32, len(p.scalars))
	slots := map[string][]float32{}
	for i, s := range p.scalars {
		if values[i], err = one(f, path, s.Name); err != nil {
			return err
		}
		for _, state := range p.states() {
			v := float32(0)
			if !published {
				if v, err = one(f, path, slotPrefix+state.Name+"."+s.Name); err != nil {
					return err
				}
			}
			slots[state.Name] = append(slots[state.Name], v)
		}
	}
	for i, s := range p.scalars {
		p.set(s.Name, values[i])
		for _, state := range p.states() {
			p.backend.Write(p.of(s.Name, state.Buffer), slots[state.Name][i:i+1])
		}
	}
	p.touched = false
	return nil
}

// one reads a tensor of one element, [] or [1].
func one(f *weights.File, path, name string) (float32, error) {
	info, ok := f.Info(name)
	if !ok {
		return 0, fault.New(fault.Invalid, "tensor %q is missing", name).WithFile(path, 0, 0).WithOp("load")
	}
	values, err := f.F32(name)
	if err != nil {
		return 0, err
	}
	if len(values) != 1 {
		return 0, fault.New(fault.Invalid, "tensor %q is %v, want one element", name, info.Shape).
			WithFile(path, 0, 0).WithOp("load")
	}
	if v := float64(values[0]); math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fault.New(fault.Corrupt, "tensor %q is %v", name, v).WithFile(path, 0, 0).WithOp("load")
	}
	return values[0], nil
}
