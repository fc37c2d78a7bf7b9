package graph

import "tandem/core/engine/device"

// halving decides which values lie in memory as bfloat16. A value and its repetitions by checkpointing are decided as one, so
// that both passes compute with the same numbers.
type halving struct {
	backend device.Halver
	all     bool                    // the backend is an Autocaster
	may     map[*storage]bool       // every kernel that touches it takes it so
	fed     map[*storage]bool       // it is read, and by nothing but products that round it
	half    map[*storage]bool       // what was decided
	places  map[device.Kernel]takes // of kernels
}

// takes says of a kernel's arguments what the backend takes as Half, what the kernel rounds, and what any backend may take.
type takes struct{ half, rounded, any device.Places }

// halve keeps values between kernels as bfloat16.
//
// Any Halver keeps those that nothing but products in bfloat16 reads: products would round them all the same, each time
// that they read them. The results are the same bits in half the memory.
//
// An Autocaster keeps what PyTorch's autocast keeps so, in both passes: products give bfloat16, and what is computed of such
// values alone is so again (see autocast).
func (l *lowering) halve(b device.Halver) {
	h := &halving{backend: b, all: device.Autocasts(b), may: map[*storage]bool{}, fed: map[*storage]bool{}, half: map[*storage]bool{},
		places: map[device.Kernel]takes{}}
	h.look(l.steps)
	for _, st := range l.steps {
		for _, s := range st.outputs() {
			if s != nil && s.again == nil && h.may[s] && (h.fed[s] || h.all && h.autocast(st)) {
				h.half[s] = true
			}
		}
	}
	for _, st := range l.steps {
		var in device.Places
		for i, s := range st.args {
			if h.is(s) {
				s.dtype = device.Half
				in |= device.At(i)
			}
		}
		if in != 0 {
			st.kernel = device.Halved{Kernel: st.kernel, In: in}
		}
	}
}

// of returns what a step's kernel takes as Half and what it rounds; nothing for a step on the host.
func (h *halving) of(st *step) takes {
	if st.kernel == nil {
		return takes{}
	}
	b, ok := h.places[st.kernel]
	if !ok {
		d, _ := device.Describe(st.kernel)
		b = takes{h.backend.Halves(st.kernel), d.Rounded, d.Half}
		h.places[st.kernel] = b
	}
	return b
}

// look finds what may be Half.
func (h *halving) look(steps []*step) {
	refused, unfed, read := map[*storage]bool{}, map[*storage]bool{}, map[*storage]bool{}
	for _, st := range steps {
		may := h.of(st)
		for i, s := range st.args {
			if s == nil {
				continue
			}
			first := s.first()
			if !may.half.Has(i) || s.keep {
				refused[first] = true
			}
			if i < st.outs {
				read[first] = true
				if !may.rounded.Has(i) {
					unfed[first] = true
				}
			}
		}
	}
	for _, st := range steps {
		for _, s := range st.outputs() {
			if s != nil {
				first := s.first()
				h.may[first] = read[first] && !refused[first]
				h.fed[first] = !unfed[first]
			}
		}
	}
}

func (h *halving) is(s *storage) bool { return s != nil && h.half[s.first()] }

// autocast reports whether PyTorch's autocast to bfloat16 gives the values of a step in bfloat16: those of products are,
// attention's and all others' are when what they are computed of is, statistics aside, which are always float32. A residual
// that is float32 stays so, as in a transformer of text, which begins with rows of a table; that of pictures begins with a product.
//
// Parameters are taken in the type of the other operand, as OpenCLIP casts its class token and positions. A product with a
// parameter, as of LayerScale, is float32.
func (h *halving) autocast(st *step) bool {
	switch k := st.kernel.(type) {
	case device.MatMul:
		return k.BF16 && (!k.Residual || h.is(st.args[3]))
	case device.ConvForward:
		return k.BF16
	case device.ConvBackData:
		return k.BF16 && (!k.Residual || h.is(st.args[2]))
	case device.Binary:
		if k.Op == device.OpMul && (!computed(st.args[0]) || !computed(st.args[1])) {
			return false
		}
	}
	found := false
	for i, s := range st.inputs() {
		if s == nil || !computed(s) || !h.of(st).any.Has(i) {
			continue
		}
		if !h.is(s) {
			return false
		}
		found = true
	}
	return found
}

// computed reports whether a storage holds reals that are no parameter, state or constant.
func computed(s *storage) bool {
	if s.leaf != nil {
		return s.leaf.kind == leafInput && s.dtype == device.Real
	}
	return s.place != inConstants
}
