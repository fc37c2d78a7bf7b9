package blend

import (
	"slices"

	"tandem/core/engine/weights"
	"tandem/core/engine/weights/keymap"
	"tandem/core/experiment/assemble"
)

// mixed returns the parameters of a point: of every tensor the sum of share times value, each product and each sum rounded to float32
// as PyTorch does. A model that has a share of 1 is taken bit by bit. Running statistics are mixed as they are, and the loss's scale as
// its logarithm, as in the code of both papers, which mix the whole state_dict. A scalar of the loss that not every model has is that
// of the first that has it. Tensors are read when they are written.
func (b *Blend) mixed(p Point) *assemble.Parameters {
	first := b.Models[0].parameters
	out := &assemble.Parameters{Meta: first.Meta, EmbedDim: first.EmbedDim}
	named := make([]map[string]weights.Tensor, len(b.Models))
	var names []string
	for i, m := range b.Models {
		named[i] = map[string]weights.Tensor{}
		for _, t := range m.parameters.Tensors {
			named[i][t.Name] = t
			if !slices.Contains(names, t.Name) && (i == 0 || keymap.Modality(t.Name) == "loss") {
				names = append(names, t.Name)
			}
		}
	}
	for _, name := range names {
		shares := p.Shares
		var of []weights.Tensor
		for _, all := range named {
			if t, has := all[name]; has {
				of = append(of, t)
			}
		}
		if len(of) < len(b.Models) {
			of, shares = of[:1], []float64{1}
			b.remark([]string{name + " is that of one model: not every model has it"})
		}
		out.Tensors = append(out.Tensors, weights.Tensor{Name: name, DType: weights.F32, Shape: of[0].Shape, Load: func() ([]byte, error) {
			values, err := mix(of, shares)
			return weights.Bytes(values), err
		}})
	}
	return out
}

// mix returns the weighted sum of tensors of one shape.
func mix(tensors []weights.Tensor, shares []float64) ([]float32, error) {
	if i := slices.Index(shares, 1); i >= 0 {
		return values(tensors[i])
	}
	var sum []float32
	for i, t := range tensors {
		v, err := values(t)
		if err != nil {
			return nil, err
		}
		share := float32(shares[i])
		for j := range v {
			v[j] = float32(share * v[j])
			if i > 0 {
				v[j] = sum[j] + v[j]
			}
		}
		sum = v
	}
	return sum, nil
}

// values reads a tensor as float32.
func values(t weights.Tensor) ([]float32, error) {
	if t.Load != nil {
		data, err := t.Load()
		if err != nil {
			return nil, err
		}
		t.Data = data
	}
	return t.F32()
}
