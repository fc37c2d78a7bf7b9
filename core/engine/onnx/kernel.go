package onnx

import (
	"fmt"
	"math"

	"tandem/core/engine/device"
	"tandem/core/engine/graph"
	"tandem/core/engine/weights"
	"tandem/core/fault"
)

// kernel adds the operators of a kernel and returns the name of its value.
func (t *translator) kernel(v graph.Visited, other device.Kernel, shape axes) (string, error) {
	in := make([]string, len(v.In))
	for i, id := range v.In {
		if i == 1 && isOfSpans(v.Kernel) {
			continue // where sequences start: here each has a row of its own
		}
		var err error
		if in[i], err = t.value(id); err != nil {
			return "", err
		}
	}
	if v.Role == graph.Viewed {
		return t.reshape(in[0], shape)
	}
	switch k := v.Kernel.(type) {
	case device.Binary:
		return t.add(map[byte]string{device.OpAdd: "Add", device.OpSub: "Sub", device.OpMul: "Mul"}[k.Op], in), nil
	case device.Scale:
		return t.scale(in[0], v.Scalars[0], v.Scalars[1]), nil
	case device.ScaleBy:
		if k.Exp {
			in[1] = t.add("Exp", in[1:])
		}
		return t.add("Mul", in), nil
	case device.Act:
		return t.act(in[0], k.Act), nil
	case device.Softplus:
		return t.add("Softplus", in), nil
	case device.Transpose:
		return t.swap(in[0], len(shape[0])), nil
	case device.MatMul:
		return t.product(k, v, in), nil
	case device.LayerNorm:
		return t.add("LayerNormalization", in, Attribute{"axis", int64(-1)}, Attribute{"epsilon", float32(k.Eps)}), nil
	case device.L2Norm:
		norm := t.add("ReduceL2", in, Attribute{"axes", []int64{-1}}, Attribute{"keepdims", int64(1)})
		return t.add("Div", []string{in[0], t.add("Max", []string{norm, t.float(k.Eps)})}), nil
	case device.BatchNorm:
		return t.batchNorm(k, in), nil
	case device.Gather:
		return t.add("Gather", in, Attribute{"axis", int64(0)}), nil
	case device.Slice:
		return t.add("Slice", []string{in[0], t.ints(k.From), t.ints(k.From + k.N), t.ints(1)}), nil
	case device.MeanTokens:
		return t.mean(k, in), nil
	case device.SumCols:
		if k.Cols != other.(device.SumCols).Cols {
			return "", fault.New(fault.Unavailable, "a sum over the batch in %s", v.Scope).WithOp("export")
		}
		flat := t.add("Reshape", []string{in[0], t.ints(-1, k.Cols)})
		return t.reshape(t.add("ReduceSum", []string{flat, t.ints(1)}, Attribute{"keepdims", int64(0)}), shape)
	case device.BroadcastRows:
		to, err := t.size(shape)
		if err != nil {
			return "", err
		}
		return t.add("Expand", []string{in[0], to}), nil
	case device.Concat:
		return t.concat(k, in, shape)
	case device.Attention:
		return t.attention(k, in, shape)
	case device.AttentionAt:
		return t.attentionAt(k, in), nil
	case device.Patchify:
		cut := t.add("Reshape", []string{in[0], t.ints(-1, k.H/k.P, k.P, k.W/k.P, k.P, k.C)})
		cut = t.add("Transpose", []string{cut}, Attribute{"perm", []int64{0, 1, 3, 5, 2, 4}})
		return t.reshape(cut, shape)
	case device.ConvForward:
		return t.channelsFirst(in[0], func(x string) string {
			return t.add("Conv", []string{x, in[1]}, Attribute{"kernel_shape", []int64{int64(k.KH), int64(k.KW)}},
				Attribute{"strides", both(k.Stride)}, Attribute{"pads", append(both(k.Pad), both(k.Pad)...)})
		}), nil
	case device.AvgPool:
		return t.pool("AveragePool", in[0], k.Pool2D), nil
	case device.MaxPool:
		return t.pool("MaxPool", in[0], k.Pool2D), nil
	}
	return "", fault.New(fault.Unavailable, "%T in %s has no operator of ONNX here", v.Kernel, v.Scope).WithOp("export")
}

// isOfSpans reports whether a kernel is attention of sequences of different lengths.
func isOfSpans(k device.Kernel) bool {
	switch k := k.(type) {
	case device.Attention:
		return k.Rows > 0
	case device.AttentionAt:
		return k.Rows > 0
	}
	return false
}

func both(n int) []int64 { return []int64{int64(n), int64(n)} }

func (t *translator) scale(x string, alpha, beta float64) string {
	if alpha != 1 {
		x = t.add("Mul", []string{x, t.float(alpha)})
	}
	if beta != 0 {
		x = t.add("Add", []string{x, t.float(beta)})
	}
	return x
}

func (t *translator) act(x string, act device.Activation) string {
	one := func(op, x string) string { return t.add(op, []string{x}) }
	switch act {
	case device.ReLU:
		return one("Relu", x)
	case device.GELU:
		phi := t.scale(one("Erf", t.scale(x, math.Sqrt2/2, 0)), 1, 1)
		return t.add("Mul", []string{t.scale(x, .5, 0), phi})
	case device.QuickGELU:
		return t.add("Mul", []string{x, one("Sigmoid", t.scale(x, 1.702, 0))})
	case device.TanhGELU:
		cube := t.add("Mul", []string{t.add("Mul", []string{x, x}), x})
		inner := t.scale(t.add("Add", []string{x, t.scale(cube, .044715, 0)}), math.Sqrt(2/math.Pi), 0)
		return t.add("Mul", []string{t.scale(x, .5, 0), t.scale(one("Tanh", inner), 1, 1)})
	}
	return x
}

// swap swaps the last two of so many axes.
func (t *translator) swap(x string, dims int) string {
	perm := make([]int64, dims)
	for i := range perm {
		perm[i] = int64(i)
	}
	perm[dims-1], perm[dims-2] = perm[dims-2], perm[dims-1]
	return t.add("Transpose", []string{x}, Attribute{"perm", perm})
}

// product multiplies matrices. The second may have two axes where the first has more.
func (t *translator) product(k device.MatMul, v graph.Visited, in []string) string {
	a, b := in[0], in[1]
	if k.TransA {
		a = t.swap(a, v.Dims())
	}
	if k.TransB {
		dims := v.Dims()
		if k.Batch == 1 { // a matrix, whatever stands before the rows of the first
			dims = 2
		}
		b = t.swap(b, dims)
	}
	c := t.add("MatMul", []string{a, b})
	if len(v.Scalars) > 0 {
		c = t.scale(c, v.Scalars[0], 0)
	}
	if k.Bias {
		c = t.add("Add", []string{c, in[2]})
	}
	return t.act(c, k.Act)
}

// batchNorm normalises by statistics [2, C]: x, statistics, gain, shift, and a residual that is added.
func (t *translator) batchNorm(k device.BatchNorm, in []string) string {
	row := func(i int) string {
		return t.add("Reshape", []string{t.add("Gather", []string{in[1], t.ints(i)}, Attribute{"axis", int64(0)}), t.ints(k.C)})
	}
	deviation := t.add("Sqrt", []string{t.scale(row(1), 1, k.Eps)})
	x := t.add("Div", []string{t.add("Sub", []string{in[0], row(0)}), deviation})
	x = t.add("Add", []string{t.add("Mul", []string{x, in[2]}), in[3]})
	if k.Residual {
		x = t.add("Add", []string{x, in[4]})
	}
	return t.act(x, k.Act)
}

// mean averages the tokens that each sample has.
func (t *translator) mean(k device.MeanTokens, in []string) string {
	if !k.Lengths {
		return t.add("ReduceMean", in[:1], Attribute{"axes", []int64{1}}, Attribute{"keepdims", int64(0)})
	}
	x := t.add("Mul", []string{in[0], t.add("Unsqueeze", []string{t.present(in[1], k.T), t.ints(2)})})
	sum := t.add("ReduceSum", []string{x, t.ints(1)}, Attribute{"keepdims", int64(0)})
	return t.add("Div", []string{sum, t.add("Unsqueeze", []string{t.cast(in[1], Float), t.ints(1)})})
}

// concat joins two arrays along the middle of three axes; the first may repeat for every sample.
func (t *translator) concat(k device.Concat, in []string, shape axes) (string, error) {
	lead := -1
	if shape[0][0] == shape[1][0] {
		lead = k.B
	}
	c := t.add("Reshape", []string{in[1], t.ints(lead, k.TC, k.W)})
	var a string
	if k.BroadcastA {
		n, _, err := shape.of(0)
		if err != nil {
			return "", err
		}
		size, err := t.size(axes{{fewer * n, k.TA, k.W}, {more * n, k.TA, k.W}})
		if lead > 0 {
			size, err = t.ints(lead, k.TA, k.W), nil
		}
		if err != nil {
			return "", err
		}
		a = t.add("Expand", []string{in[0], size})
	} else {
		a = t.add("Reshape", []string{in[0], t.ints(lead, k.TA, k.W)})
	}
	return t.reshape(t.add("Concat", []string{a, c}, Attribute{"axis", int64(1)}), shape)
}

func (t *translator) channelsFirst(x string, f func(string) string) string {
	x = f(t.add("Transpose", []string{x}, Attribute{"perm", []int64{0, 3, 1, 2}}))
	return t.add("Transpose", []string{x}, Attribute{"perm", []int64{0, 2, 3, 1}})
}

func (t *translator) pool(op, x string, p device.Pool2D) string {
	return t.channelsFirst(x, func(x string) string {
		return t.add(op, []string{x}, Attribute{"kernel_shape", both(p.Size)}, Attribute{"strides", both(p.Stride)},
			Attribute{"pads", append(both(p.Pad), both(p.Pad)...)})
	})
}

// attention adds softmax(q·kᵀ/√d + mask)·v. Sequences of different lengths have padded rows each, which are masked
// where the order does not.
func (t *translator) attention(k device.Attention, in []string, shape axes) (string, error) {
	w := k.Heads * k.HeadDim
	q, keys, values := in[0], "", ""
	if k.Packed {
		q, keys, values = t.thirds(in[0], k.Tq, w)
	} else {
		keys, values = in[1], in[2]
	}
	return t.reshape(t.attend(q, keys, values, k.Tq, k.Tk, k.Heads, k.HeadDim, k.Causal, k.Rows > 0 && !k.Causal), shape)
}

// attentionAt computes all queries and takes those that are asked for.
func (t *translator) attentionAt(k device.AttentionAt, in []string) string {
	w := k.Heads * k.HeadDim
	q, keys, values := t.thirds(in[0], k.T, w)
	all := t.attend(q, keys, values, k.T, k.T, k.Heads, k.HeadDim, k.Causal, k.Rows > 0 && !k.Causal)
	flat := t.add("Reshape", []string{all, t.ints(-1, w)})
	return t.add("Gather", []string{flat, in[len(in)-1]}, Attribute{"axis", int64(0)})
}

// thirds cuts packed projections into queries, keys and values [batch, T, W].
func (t *translator) thirds(x string, tokens, w int) (q, k, v string) {
	x = t.add("Reshape", []string{x, t.ints(-1, tokens, 3*w)})
	third := func(i int) string { return t.add("Slice", []string{x, t.ints(i * w), t.ints((i + 1) * w), t.ints(2)}) }
	return third(0), third(1), third(2)
}

func (t *translator) attend(q, k, v string, tq, tk, heads, dim int, causal, padded bool) string {
	split := func(x string, n int, perm []int64) string {
		x = t.add("Reshape", []string{x, t.ints(-1, n, heads, dim)})
		return t.add("Transpose", []string{x}, Attribute{"perm", perm})
	}
	scores := t.add("MatMul", []string{split(q, tq, []int64{0, 2, 1, 3}), split(k, tk, []int64{0, 2, 3, 1})})
	scores = t.scale(scores, 1/math.Sqrt(float64(dim)), 0)
	const least = -1e30 // e to it is 0, and it is no infinity that a program could make NaN of
	if causal {
		mask := make([]float32, tq*tk)
		for i := range tq {
			for j := i + 1; j < tk; j++ {
				mask[i*tk+j] = least
			}
		}
		scores = t.add("Add", []string{scores, t.constant(fmt.Sprint("causal ", tq), Float, []int{tq, tk}, weights.Bytes(mask))})
	}
	if padded {
		name := t.once("padding mask", func() string {
			return t.add("Unsqueeze", []string{t.scale(t.present(t.lengths(), tk), -least, least), t.ints(1, 2)})
		})
		scores = t.add("Add", []string{scores, name})
	}
	x := t.add("MatMul", []string{t.add("Softmax", []string{scores}, Attribute{"axis", int64(-1)}), split(v, tk, []int64{0, 2, 1, 3})})
	x = t.add("Transpose", []string{x}, Attribute{"perm", []int64{0, 2, 1, 3}})
	return t.add("Reshape", []string{x, t.ints(-1, tq, heads*dim)})
}
