package tower

import (
	"tandem/core/engine/device"
	"tandem/core/engine/graph"
	"tandem/core/engine/nn"
)

// params holds the parameters of a network in one flat buffer, the gradients of those that are trained in another, and
// the running statistics in a third. Decayed arrays come first, so that weight decay is a property of a range, and
// frozen ones last, so that gradients and the optimiser's state are as long as what is trained. Padding between arrays
// is zero and stays zero under every optimiser.
type params struct {
	backend device.Backend
	set     *nn.Set
	store   graph.Store
	states  graph.Store
	decayed int          // elements of the decayed range at the front
	trained graph.Layout // the part of store.Layout that is trained
}

// layouts places parameters, without memory for them.
func layouts(set *nn.Set, decayEmbeddings bool) *params {
	p := &params{set: set}
	layout := &p.store.Layout
	for _, decayed := range []bool{true, false} {
		for _, q := range set.Params() {
			if !q.Frozen && q.Decayed(decayEmbeddings) == decayed {
				layout.Add(q.Name, q.Shape...)
			}
		}
		if decayed {
			p.decayed = layout.Total
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

// newParams allocates and initialises. Out of memory is fault.Exhausted.
func newParams(b device.Backend, set *nn.Set, seed uint64, decayEmbeddings bool, threads int) (*params, error) {
	p := layouts(set, decayEmbeddings)
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
	return p, nil
}

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
