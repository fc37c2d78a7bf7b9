package main

import (
	"math"
	"strconv"
	"strings"

	"tandem/core/clip"
	"tandem/core/device"
	"tandem/core/fault"
	"tandem/core/graph"
	"tandem/core/optim"
	"tandem/core/weights"
)

const (
	logitScale = "logit_scale" // the parameter's name in graphs and, as published, in checkpoints
	format     = "tandem loss 1"
	slotPrefix = "optim." // of the optimiser's state: optim.m.logit_scale
)

// scale is the one parameter of the loss, ln(1/temperature), with its gradient and optimiser. Weight
// decay never applies to it: it would pull the temperature towards 1.
type scale struct {
	backend device.Backend
	store   graph.Store
	optim   *optim.Optimizer // nil when the temperature is fixed
	name    string           // of the optimiser; "" when fixed
	max     float64
	current float64 // the value on the device
	touched bool    // the gradient on the device is of this step; else it is old
}

func newScale(backend device.Backend, cfg Config, o clip.Optimizer) (*scale, error) {
	s := &scale{backend: backend, max: cfg.MaxLogitScale}
	entry := s.store.Layout.Add(logitScale, 1)
	var err error
	if s.store.Values, err = backend.Alloc(device.Real, s.store.Layout.Total); err != nil {
		return nil, err
	}
	if s.store.Grads, err = backend.Alloc(device.Real, s.store.Layout.Total); err != nil {
		return nil, err
	}
	s.set(float32(cfg.initial()))
	if !cfg.Learnable {
		return s, nil
	}
	s.name = o.Name
	s.optim, err = optim.New(optim.Config{Name: o.Name, Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps, Momentum: o.Momentum},
		backend, s.store.Values, s.store.Grads, []optim.Segment{{Off: entry.Off, N: entry.N}})
	return s, err
}

// first is the element of a flat buffer that belongs to the parameter.
func (s *scale) first(flat device.Buffer) device.Buffer { return s.backend.View(flat, 0, 1) }

func (s *scale) read(flat device.Buffer) float32 {
	var one [1]float32
	s.backend.Read(one[:], s.first(flat))
	return one[0]
}

// set writes the parameter.
func (s *scale) set(v float32) {
	s.backend.Write(s.first(s.store.Values), []float32{v})
	s.backend.ParamsChanged()
	s.current = float64(v)
}

// value is ln(1/temperature).
func (s *scale) value() float64 { return s.current }

// grad is the gradient accumulated since the last step.
func (s *scale) grad() float64 {
	if s.optim == nil || !s.touched {
		return 0
	}
	return float64(s.read(s.store.Grads))
}

// mode says whether a backward pass adds to the gradient or replaces an old one.
func (s *scale) mode() graph.Mode {
	if s.touched {
		return graph.Accumulate
	}
	return graph.Overwrite
}

// step takes an optimiser step and clamps to [0, max]. The gradient counts as zero afterwards.
func (s *scale) step(step int, lr, gradScale float64) error {
	if step < 1 {
		return fault.New(fault.Invalid, "step %d, steps count from 1", step).WithOp("step")
	}
	if s.optim == nil {
		return nil
	}
	if !s.touched {
		s.optim.ZeroGrad()
	}
	s.optim.Step(step, lr, gradScale)
	s.touched = false
	v := s.read(s.store.Values)
	s.current = float64(v)
	if clamped := min(max(v, 0), float32(s.max)); clamped != v && v == v { // a NaN stays to be seen
		s.set(clamped)
	}
	return nil
}

// save writes the parameter and the optimiser's state.
func (s *scale) save(path string) error {
	tensors := []weights.Tensor{weights.FromF32(logitScale, []float32{s.read(s.store.Values)})}
	for _, state := range s.states() {
		tensors = append(tensors, weights.FromF32(slotPrefix+state.Name+"."+logitScale, []float32{s.read(state.Buffer)}))
	}
	return weights.Write(path, tensors, map[string]string{
		"format": format, "learnable": strconv.FormatBool(s.optim != nil), "optimizer": s.name,
	})
}

func (s *scale) states() []optim.State {
	if s.optim == nil {
		return nil
	}
	return s.optim.States()
}

// load reads what save wrote, or the logit_scale of a published model. Nothing changes before all is
// checked.
func (s *scale) load(path string) error {
	f, err := weights.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	meta := f.Metadata()
	published := !strings.HasPrefix(meta["format"], "tandem ")
	if !published {
		want := map[string]string{"format": format, "learnable": strconv.FormatBool(s.optim != nil), "optimizer": s.name}
		for _, key := range []string{"format", "learnable", "optimizer"} {
			if meta[key] != want[key] {
				return fault.New(fault.Invalid, "%s is %q, want %q", key, meta[key], want[key]).
					WithFile(path, 0, 0).WithOp("load")
			}
		}
	}
	v, err := one(f, path, logitScale)
	if err != nil {
		return err
	}
	states := s.states()
	slots := make([]float32, len(states))
	for i, state := range states {
		if published {
			break
		}
		if slots[i], err = one(f, path, slotPrefix+state.Name+"."+logitScale); err != nil {
			return err
		}
	}
	s.set(v)
	for i, state := range states {
		s.backend.Write(s.first(state.Buffer), slots[i:i+1])
	}
	s.touched = false
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
