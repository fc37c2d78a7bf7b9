package tower

import (
	"slices"

	"tandem/core/clip"
	"tandem/core/engine/device"
	"tandem/core/engine/graph"
	"tandem/core/engine/nn"
	"tandem/core/engine/optim"
)

// params holds the parameters of a network in one flat buffer, the gradients of those that are trained in another, and
// the running statistics in a third. Arrays of the same learning rate and weight decay follow each other, decayed ones
// first, so that the optimiser steps ranges, and frozen ones come last, so that gradients and the optimiser's state are
// as long as what is trained. Padding between arrays is zero and stays zero under every optimiser.
type params struct {
	backend  device.Backend
	set      *nn.Set
	store    graph.Store
	states   graph.Store
	trained  graph.Layout    // the part of store.Layout that is trained
	segments []optim.Segment // its arrays with their rates
	averaged bool            // Optimizer.EMADecay is set
	average  *optim.Average  // of the values; nil: none, or nothing is trained, so that it would equal them
}

// layouts places parameters, without memory for them.
func layouts(set *nn.Set, o clip.Optimizer) *params {
	p := &params{set: set, averaged: o.EMADecay > 0}
	layout := &p.store.Layout
	var rates []rate
	for _, decayed := range []bool{true, false} {
		for _, q := range set.Params() {
			if r := rateOf(q, o); r.decayed == decayed && !slices.Contains(rates, r) {
				rates = append(rates, r)
			}
		}
	}
	for _, r := range rates {
		for _, q := range set.Params() {
			if !q.Frozen && rateOf(q, o) == r {
				e := layout.Add(q.Name, q.Shape...)
				p.segments = append(p.segments, optim.Segment{Off: e.Off, N: e.N, LRScale: r.lrScale, Decay: r.decay, Start: r.start})
			}
		}
	}
	p.trained = *layout
	for _, q := range set.Params() {
		if q.Frozen {
			layout.Add(q.Name, q.Shape...)
		}
	}
	for _, s := range set.Stats() {
		p.states.Layout.Add(s.Name, s.Shape...)
	}
	return p
}

// A rate says how an array is stepped. decayed is whether the optimiser's weight decay is meant for it.
type rate struct {
	decayed        bool
	lrScale, decay float64
	start          int
}

func rateOf(p *nn.Param, o clip.Optimizer) rate {
	r := rate{decayed: p.Decayed(o.DecayEmbeddings), lrScale: p.LRScale, start: p.Start}
	switch {
	case p.Decay != nil:
		r.decay = *p.Decay
	case r.decayed:
		r.decay = o.WeightDecay
	}
	return r
}

// newParams allocates and initialises. Out of memory is fault.Exhausted.
func newParams(b device.Backend, set *nn.Set, seed uint64, o clip.Optimizer, threads int) (*params, error) {
	p := layouts(set, o)
	p.backend = b
	if err := p.alloc(); err != nil {
		return nil, err
	}
	const piece = 16 * nn.FillStep // 4 MiB: a vocabulary's embedding takes 25 times that
	var host []float32
	for _, q := range set.Params() {
		values := view(b, p.store.Layout, p.store.Values, q.Name)
		for from := 0; from < q.Len(); from += piece {
			host = grow(host, min(piece, q.Len()-from))
			q.Init.Fill(host, from, seed, q.Name, q.Shape, threads)
			b.Write(b.View(values, from, len(host)), host)
		}
	}
	for _, s := range set.Stats() {
		host = grow(host, s.Len())
		for i := range host {
			host[i] = s.Value
		}
		b.Write(view(b, p.states.Layout, p.states.Values, s.Name), host)
	}
	b.ParamsChanged()
	if p.averages() {
		var err error
		if p.average, err = optim.NewAverage(b, o.EMADecay, p.store.Values, p.trained.Total); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// averages reports whether an average is kept beside the values.
func (p *params) averages() bool { return p.averaged && p.trained.Total > 0 }

func (p *params) alloc() (err error) {
	if p.store.Values, err = p.backend.Alloc(device.Real, p.store.Layout.Total); err != nil {
		return err
	}
	if n := p.trained.Total; n > 0 {
		if p.store.Grads, err = p.backend.Alloc(device.Real, n); err != nil {
			return err
		}
	}
	if n := p.states.Layout.Total; n > 0 {
		p.states.Values, err = p.backend.Alloc(device.Real, n)
	}
	return err
}

// view returns the part of a flat buffer that an entry of its layout names.
func view(b device.Backend, l graph.Layout, flat device.Buffer, name string) device.Buffer {
	e, ok := l.Find(name)
	if !ok {
		panic("tower: no array " + name)
	}
	return b.View(flat, e.Off, e.N)
}

// grow returns s with length n, reallocated when its capacity is smaller. The content is undefined.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
