package graph

import (
	"slices"

	"tandem/core/engine/device"
)

// LayerNorm computes (x − mean)/√(var + eps)·γ + β over the last axis (Ba et al. 2016): x [..., C], gamma [C], beta
// [C].
func LayerNorm(x, gamma, beta *Node, eps float64) *Node {
	g := x.g
	if g.unusable(x, gamma, beta) {
		return &Node{g: g}
	}
	rows, cols := x.rows(), x.Dim(-1)
	if gamma.Elements() != cols || beta.Elements() != cols {
		return g.fail("layer_norm", "x is %v, gamma %v, beta %v; want gamma and beta [%d]", x, gamma, beta, cols)
	}
	return g.apply(op{name: "layer_norm", shape: x.shape, part: noPart, wrt: []bool{true, true, true},
		kernel: device.LayerNorm{Rows: rows, Cols: cols, Eps: eps},
		diff: func(in []*Node, _, dy *Node) []*Node {
			dx := g.apply(op{name: "layer_norm.back", shape: in[0].shape, part: noPart,
				kernel: device.LayerNormBack{Rows: rows, Cols: cols, Eps: eps}}, in[0], in[1], dy)
			return []*Node{dx, part(dx, 1, in[1].shape...), part(dx, 2, in[2].shape...)}
		}}, x, gamma, beta)
}

// L2Norm computes x/max(‖x‖, eps) over the last axis.
func L2Norm(x *Node, eps float64) *Node {
	if x.g.unusable(x) {
		return x
	}
	rows, cols := x.rows(), x.Dim(-1)
	return x.g.apply(op{name: "l2_norm", shape: x.shape, part: noPart, wrt: []bool{true},
		kernel: device.L2Norm{Rows: rows, Cols: cols, Eps: eps},
		diff: func(in []*Node, _, dy *Node) []*Node {
			return []*Node{dy.g.apply(op{name: "l2_norm.back", shape: in[0].shape, part: noPart,
				kernel: device.L2NormBack{Rows: rows, Cols: cols, Eps: eps}}, in[0], dy)}
		}}, x)
}

// BatchNorm computes act((x − mean)/√(var + eps)·γ + β) per channel, the last axis of x [..., C] (Ioffe & Szegedy
// 2015); act is Identity or ReLU, computed in the same pass. What Act(…, ReLU) makes of the result, or of its sum with a
// node of the same shape, is computed in that pass too.
//
// In training the statistics are those of the batch, and Instance.Update moves the states mean and variance [C] by
// momentum: run ← (1 − momentum)·run + momentum·batch, with the unbiased variance. Else the states are the statistics.
// With Options.Sum the batch is that of all ranks.
func BatchNorm(x, gamma, beta, mean, variance *Node, momentum, eps float64, act device.Activation, training bool) *Node {
	g := x.g
	if g.unusable(x, gamma, beta, mean, variance) {
		return &Node{g: g}
	}
	rows, c := x.rows(), x.Dim(-1)
	for _, n := range []*Node{gamma, beta, mean, variance} {
		if n.Elements() != c {
			return g.fail("batch_norm", "x is %v, which needs gamma, beta, mean and variance [%d]; %v is not", x, c, n)
		}
	}
	var stats *Node
	if training {
		if rows < 2 {
			return g.fail("batch_norm", "x is %v: one row has no variance to train with", x)
		}
		stats = g.apply(op{name: "batch_stats", shape: []int{2, c}, part: noPart,
			kernel: device.BatchStats{Rows: rows, C: c}}, x)
		if g.options.Sum != nil {
			return g.syncBatchNorm(x, stats, gamma, beta, mean, variance, momentum, eps, act)
		}
		g.effects = append(g.effects, effect{scope: g.scopePath(), value: stats, targets: []*Node{mean, variance},
			kernel: device.RunningStats{Rows: rows, C: c, Momentum: momentum}})
	} else {
		stats = g.apply(op{name: "concat", shape: []int{2, c}, part: noPart,
			kernel: device.Concat{B: 1, TA: 1, TC: 1, W: c}}, mean, variance)
	}
	return normed{x: x, stats: stats, gamma: gamma, beta: beta, training: training, eps: eps}.apply(nil, act)
}

// normed holds a batch norm but for what follows it.
type normed struct {
	x, stats, gamma, beta *Node
	training              bool
	eps                   float64
}

// apply computes act(norm + residual), residual nil for none.
func (b normed) apply(residual *Node, act device.Activation) *Node {
	in := []*Node{b.x, b.stats, b.gamma, b.beta}
	if residual != nil {
		in = append(in, residual)
	}
	o := op{name: "batch_norm", shape: b.x.shape, part: noPart, wrt: []bool{true, false, true, true, true}[:len(in)],
		kernel: device.BatchNorm{Rows: b.x.rows(), C: b.x.Dim(-1), Eps: b.eps, Act: act, Residual: residual != nil},
		diff:   func(in []*Node, out, dy *Node) []*Node { return b.back(in, out, dy, act) }}
	if residual == nil && act == device.Identity {
		o.before = &b
	}
	return b.x.g.apply(o, in...)
}

// back builds the gradients of in, as apply gave them to the node out.
func (b normed) back(in []*Node, out, dy *Node, act device.Activation) []*Node {
	g, x, stats, gamma := out.g, in[0], in[1], in[2]
	residual := len(in) == 5
	k := device.BatchNormBack{Rows: x.rows(), C: x.Dim(-1), Eps: b.eps, Act: act, Training: b.training && g.options.Sum == nil, Residual: residual}
	args := []*Node{x, stats, gamma}
	switch {
	case residual:
		args = append(args, out)
	case act == device.ReLU:
		args = append(args, in[3])
	}
	dx := g.apply(op{name: "batch_norm.back", shape: x.shape, part: noPart, kernel: k}, append(args, dy)...)
	dgamma, dbeta := part(dx, 1, gamma.shape...), part(dx, 2, in[3].shape...)
	grads := []*Node{dx, nil, dgamma, dbeta}
	if residual {
		grads = append(grads, part(dx, 3, x.shape...))
	}
	if b.training && g.options.Sum != nil {
		grads[0] = Add(dx, g.throughStatistics(x, stats, gamma, dgamma, dbeta, b.eps))
	}
	return grads
}

// positive gives the positive part of a sum whose one side is a batch norm, in the same kernel, or that of a batch norm
// alone; nil for other nodes. Where nothing else reads the sum and the norm they are not computed.
func positive(x *Node) *Node {
	o := x.op()
	if o == nil {
		return nil
	}
	if o.before != nil {
		return o.before.apply(nil, device.ReLU)
	}
	if k, ok := o.kernel.(device.Binary); !ok || k.Op != device.OpAdd || k.N != k.Period {
		return nil
	}
	for i, side := range o.in {
		other := o.in[1-i]
		if n := side.op(); n != nil && n.before != nil && slices.Equal(side.shape, other.shape) {
			return n.before.apply(other, device.ReLU)
		}
	}
	return nil
}
