package graph

import "tandem/core/engine/device"

// halve keeps the values that nothing but products in bfloat16 reads, in both passes, as bfloat16: the
// products would round them all the same, each time that they read them. The results are the same bits in
// half the memory. In a transformer's block these are what both norms, attention and the activation give,
// not the gradients, whose sums over rows are those of biases.
func (l *lowering) halve(b device.Halver) {
	halves := func(st *step) device.Places {
		if st.kernel == nil {
			return 0
		}
		return b.Halves(st.kernel)
	}
	rounded := func(st *step) device.Places {
		d, _ := device.Describe(st.kernel) // of a step on the host: nothing
		return d.Rounded
	}
	written, read := map[*storage]bool{}, map[*storage]bool{}
	for _, st := range l.steps {
		may := halves(st)
		for i, s := range st.outputs() {
			if !s.keep && may.Has(st.outs+i) {
				written[s] = true
			}
		}
	}
	for _, st := range l.steps {
		may := halves(st) & rounded(st)
		for i, s := range st.inputs() {
			if written[s] && may.Has(i) {
				read[s] = true
			} else {
				delete(written, s)
			}
		}
	}
	for _, st := range l.steps {
		var in device.Places
		for i, s := range st.args {
			if written[s] && read[s] {
				s.dtype = device.Half
				in |= device.At(i)
			}
		}
		if in != 0 {
			st.kernel = device.Halved{Kernel: st.kernel, In: in}
		}
	}
}
