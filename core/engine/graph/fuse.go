package graph

import (
	"slices"

	"tandem/core/engine/device"
)

// fuse makes residual connections, sums of gradients and the slopes of activations part of the product
// that computes one side: c = a·b, y = c + r becomes y = a·b + r where c is used for nothing else.
func fuse(steps []*step) []*step {
	made := map[*storage]int{}
	gone := make([]bool, len(steps))
	for i, st := range steps {
		if b, ok := st.kernel.(device.Binary); ok && (b.Op == device.OpAdd || b.Op == device.OpMul) && b.N == b.Period {
			for _, c := range []int{1, 0} {
				product, other := st.args[c], st.args[1-c]
				j, ok := made[product]
				if !ok || product == other || product.uses != 1 || product.keep {
					continue
				}
				m, ok := steps[j].kernel.(device.MatMul)
				if !ok || m.Residual || m.Gate || m.Slope || m.Act != device.Identity {
					continue
				}
				m.Residual, m.Gate = b.Op == device.OpAdd, b.Op == device.OpMul
				args := slices.Clone(steps[j].args)
				args[3], args[4] = other, st.args[2]
				steps[i] = &step{name: steps[j].name, scope: steps[j].scope, segment: steps[j].segment, kernel: m, scalars: steps[j].scalars,
					args: args, outs: 4}
				gone[j] = true
				break
			}
		}
		for _, s := range steps[i].outputs() {
			made[s] = i
		}
	}
	return without(gone, steps)
}

// fuseGradients makes two kernels of the backward pass part of others, on a backend that has such kernels: the sum of the
// gradients that reach a residual past a layer norm, or a convolution, and through it, and the sum of the rows of a product's
// gradient, for the bias, beside the gradient of its weights.
func fuseGradients(steps []*step, fuser device.Fuser) []*step {
	made, weights := map[*storage]int{}, map[*storage]int{}
	gone := make([]bool, len(steps))
	for i, st := range steps {
		switch k := st.kernel.(type) {
		case device.Binary:
			if k.Op != device.OpAdd || k.N != k.Period {
				break
			}
			for c := range 2 {
				j, ok := made[st.args[c]]
				if !ok {
					continue
				}
				both := addToGradient(steps[j], st.args[c], st.args[1-c], st.args[2])
				if both != nil && fuser.Fuses(both.kernel) {
					steps[i], gone[j] = both, true
					break
				}
			}
		case device.SumRows:
			j, ok := weights[st.args[0]]
			if !ok || st.args[1].uses > 0 { // read before it would be made, or after
				break
			}
			if both := sumBeside(steps[j], k, st.args[1]); both != nil && fuser.Fuses(both.kernel) {
				steps[j], gone[i] = both, true
			}
		case device.MatMul:
			if k.TransA {
				weights[st.args[0]] = i
			}
		}
		for _, s := range steps[i].outputs() {
			made[s] = i
		}
	}
	return without(gone, steps)
}

// without returns the steps that are not gone, in their place.
func without(gone []bool, steps []*step) []*step {
	kept := steps[:0]
	for i, st := range steps {
		if !gone[i] {
			kept = append(kept, st)
		}
	}
	return kept
}

// addToGradient returns the gradient dx of a layer norm or a convolution with another gradient added, nil where that cannot be. It
// stands where the sum stood, so that nothing may read the step's other outputs before.
func addToGradient(st *step, dx, other, sum *storage) *step {
	var with device.Kernel
	switch k := st.kernel.(type) {
	case device.LayerNormBack:
		if k.Residual {
			return nil
		}
		k.Residual = true
		with = k
	case device.ConvBackData:
		if k.Residual {
			return nil
		}
		k.Residual = true
		with = k
	default:
		return nil
	}
	if st.args[st.outs] != dx || dx == other || dx.uses != 1 || dx.keep {
		return nil
	}
	for _, s := range st.args[st.outs+1:] {
		if s.uses > 0 {
			return nil
		}
	}
	both := *st
	both.kernel, both.outs = with, st.outs+1
	both.args = slices.Concat(st.args[:st.outs], []*storage{other, sum}, st.args[st.outs+1:])
	return &both
}

// sumBeside returns a product for the gradient of weights that also sums the rows of its left operand, nil where that
// cannot be.
func sumBeside(product *step, k device.SumRows, sum *storage) *step {
	m, ok := product.kernel.(device.MatMul)
	if !ok || m.RowSums || !m.TransA || m.Batch != 1 || m.K != k.Rows || m.M != k.Cols {
		return nil
	}
	m.RowSums = true
	both := *product
	both.kernel = m
	both.args = append(slices.Clone(product.args), sum)
	return &both
}
