package loss

import (
	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/graph"
	"tandem/core/engine/optim"
	"tandem/core/engine/program"
)

// parameters holds the scalars of a loss with their gradients and optimiser.
type parameters struct {
	program.Trained
	backend   device.Backend
	store     graph.Store
	scalars   []Scalar
	optimizer string // its name; "" when nothing is learned
	current   map[string]float64
}

// layout places each parameter.
func layout(def Definition) (l graph.Layout) {
	for _, s := range def.Scalars {
		l.Add(s.Name, 1)
	}
	return l
}

// newParameters allocates the scalars and sets them to their initial values.
func newParameters(backend device.Backend, def Definition, o clip.Optimizer) (*parameters, error) {
	p := &parameters{backend: backend, scalars: def.Scalars, current: map[string]float64{}}
	p.store.Layout = layout(def)
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
	var segments []optim.Segment
	for _, e := range p.store.Layout.Entries {
		segments = append(segments, optim.Segment{Off: e.Off, N: e.N, LRScale: 1})
	}
	p.optimizer = o.Name
	p.Trained, err = program.NewTrained(o, backend, p.store.Values, p.store.Grads, segments)
	return p, err
}

// element returns the element of a flat buffer that belongs to a parameter.
func (p *parameters) element(name string, flat device.Buffer) device.Buffer {
	e, _ := p.store.Layout.Find(name)
	return p.backend.View(flat, e.Off, 1)
}

func (p *parameters) read(name string, flat device.Buffer) float32 {
	var one [1]float32
	p.backend.Read(one[:], p.element(name, flat))
	return one[0]
}

// set writes a parameter.
func (p *parameters) set(name string, v float32) {
	p.backend.Write(p.element(name, p.store.Values), []float32{v})
	p.backend.ParamsChanged()
	p.current[name] = float64(v)
}

// value returns the current value of a parameter.
func (p *parameters) value(name string) float64 { return p.current[name] }

// grad returns the gradient of a parameter accumulated since the last step.
func (p *parameters) grad(name string) float64 {
	if !p.HasGradient() {
		return 0
	}
	return float64(p.read(name, p.store.Grads))
}

// step takes an optimiser step and clamps. The gradients count as zero afterwards.
func (p *parameters) step(step int, lr, gradScale float64) error {
	if err := p.CheckStep(step); err != nil || !p.Trains() {
		return err
	}
	p.Step(step, lr, gradScale)
	for _, s := range p.scalars {
		v := p.read(s.Name, p.store.Values)
		p.current[s.Name] = float64(v)
		if clamped := min(max(v, float32(s.Min)), float32(s.Max)); clamped != v && v == v { // a NaN stays to be seen
			p.set(s.Name, clamped)
		}
	}
	return nil
}
