package devicetest

import (
	"math/rand/v2"

	"tandem/core/engine/device"
)

// Random makes n trials of kernels in turn, with shapes drawn at random: what Trials leaves out. Equal seeds
// give equal trials. Tolerances are wide enough for any order of a sum.
func Random(seed uint64, n int) []Trial {
	d := draw{rand.New(rand.NewPCG(seed, 29))}
	kinds := []func() Trial{d.product, d.elementwise, d.rows, d.attention, d.attentionAt, d.convolution, d.pool,
		d.batchNorm, d.tokens, d.optimiser}
	list := make([]Trial, n)
	for i := range list {
		list[i] = kinds[i%len(kinds)]()
		if half := device.WithBF16(list[i].Kernel); d.one() {
			list[i].Kernel = half
		}
	}
	return list
}

type draw struct{ *rand.Rand }

// size draws from 1 to limit. Small sizes are as likely as large ones, multiples of 4 as likely as others.
func (d draw) size(limit int) int {
	n := 1 + d.IntN(limit)
	if d.one() {
		n = 1 + n/8
	}
	if d.one() && n > 4 {
		n &^= 3
	}
	return n
}

func (d draw) one() bool               { return d.IntN(2) == 0 }
func (d draw) act() device.Activation  { return device.Activation(d.IntN(int(device.TanhGELU) + 1)) }
func (d draw) relu() device.Activation { return device.Activation(d.IntN(int(device.ReLU) + 1)) }

func (d draw) pick(tol float64, kernels ...device.Kernel) Trial {
	return Trial{Kernel: kernels[d.IntN(len(kernels))], Tol: tol}
}

func (d draw) product() Trial {
	k := device.MatMul{Batch: d.size(5), M: d.size(150), N: d.size(150), K: d.size(200), TransA: d.one(), TransB: d.one(),
		Bias: d.one(), Act: d.act(), Slope: d.one(), Weights: d.one()}
	switch d.IntN(3) {
	case 0:
		k.Residual = true
	case 1:
		k.Gate = true
	}
	if k.Weights {
		k.Batch = 1
	}
	t := Trial{Kernel: k, Tol: 2e-5}
	if d.one() {
		t.Scalars = []float64{d.NormFloat64()}
	}
	return t
}

func (d draw) elementwise() Trial {
	n, period := d.size(3000), d.size(40)
	t := d.pick(3e-6, device.Act{N: n, Act: d.act()}, device.ActBack{N: n, Act: d.act()},
		device.Binary{N: n * period, Period: period, Op: "+-*"[d.IntN(3)]}, device.Scale{N: n}, device.Accumulate{N: n},
		device.SumSquares{N: n}, device.ScaleBy{N: n, Exp: d.one()}, device.ScaleByBack{N: n, Exp: d.one()},
		device.Softplus{N: n}, device.SoftplusBack{N: n},
		device.Normalize{N: n, Mean: [3]float64{.48, .46, .41}, Std: [3]float64{.27, .26, .28}})
	switch t.Kernel.(type) {
	case device.Scale:
		t.Scalars = []float64{d.NormFloat64(), d.NormFloat64()}
	case device.Accumulate:
		t.Scalars = []float64{d.NormFloat64()}
	}
	return t
}

func (d draw) rows() Trial {
	r, c := d.size(200), d.size(700)
	return d.pick(2e-5, device.SumRows{Rows: r, Cols: c}, device.SumCols{Rows: r, Cols: c}, device.BroadcastRows{Rows: r, Cols: c},
		device.LayerNorm{Rows: r, Cols: c, Eps: 1e-5}, device.LayerNormBack{Rows: r, Cols: c, Eps: 1e-2},
		device.L2Norm{Rows: r, Cols: c, Eps: 1e-12}, device.L2NormBack{Rows: r, Cols: c, Eps: 1e-12},
		device.CrossEntropy{Rows: r, Cols: c, Smooth: .1}, device.CrossEntropyBack{Rows: r, Cols: c},
		device.Gather{Rows: d.size(50), Cols: c, N: r}, device.GatherBack{Rows: d.size(50), Cols: c, N: r})
}

func (d draw) attention() Trial {
	tq := d.size(90)
	k := device.Attention{B: d.size(4), Tq: tq, Tk: tq, Heads: d.size(4), HeadDim: d.size(80), Causal: d.one()}
	switch d.IntN(3) {
	case 0:
		k.Packed = true
	case 1:
		k.Packed, k.Rows = true, k.B*tq
	case 2:
		if !k.Causal {
			k.Tk = d.size(90)
		}
	}
	return d.pick(2e-5, k, device.AttentionBack(k))
}

func (d draw) attentionAt() Trial {
	k := device.AttentionAt{B: d.size(6), T: d.size(60), Heads: d.size(4), HeadDim: d.size(80), Causal: d.one()}
	if d.one() {
		k.Rows = k.B * k.T
	}
	return d.pick(2e-5, k, device.AttentionAtBack(k))
}

func (d draw) convolution() Trial {
	c := device.Conv2D{B: d.size(4), InC: d.size(40), OutC: d.size(40), KH: 1 + d.IntN(4), KW: 1 + d.IntN(4), Stride: 1 + d.IntN(3), Pad: d.IntN(3)}
	c.H, c.W = c.KH+d.IntN(16), c.KW+d.IntN(16)
	return d.pick(2e-5, device.ConvForward{Conv2D: c}, device.ConvBackData{Conv2D: c}, device.ConvBackWeights{Conv2D: c})
}

func (d draw) pool() Trial {
	p := device.Pool2D{B: d.size(4), C: d.size(70), Size: 1 + d.IntN(4), Stride: 1 + d.IntN(3)}
	p.H, p.W = p.Size+d.IntN(16), p.Size+d.IntN(16)
	if d.one() {
		return d.pick(2e-6, device.AvgPool{Pool2D: p}, device.AvgPoolBack{Pool2D: p})
	}
	p.Pad = d.IntN(p.Size/2 + 1)
	return d.pick(2e-6, device.MaxPool{Pool2D: p}, device.MaxPoolBack{Pool2D: p})
}

func (d draw) batchNorm() Trial {
	r, c := 1+d.size(600), d.size(130)
	return d.pick(2e-5, device.BatchStats{Rows: r, C: c}, device.RunningStats{Rows: r, C: c, Momentum: .1},
		device.BatchNorm{Rows: r, C: c, Eps: 1e-5, Act: d.relu(), Residual: d.one()},
		device.BatchNormBack{Rows: r, C: c, Eps: 1e-3, Act: device.ReLU, Training: d.one(), Residual: true},
		device.BatchNormBack{Rows: r, C: c, Eps: 1e-3, Act: d.relu(), Training: d.one()})
}

func (d draw) tokens() Trial {
	b, t, w := d.size(20), d.size(60), d.size(200)
	n := 1 + d.IntN(t)
	side := 1 + d.IntN(5)
	return d.pick(2e-6, device.Concat{B: b, TA: t, TC: n, W: w, BroadcastA: d.one()},
		device.Slice{B: b, T: t, W: w, From: t - n, N: n}, device.SliceBack{B: b, T: t, W: w, From: t - n, N: n},
		device.MeanTokens{B: b, T: t, W: w, Lengths: d.one()}, device.MeanTokensBack{B: b, T: t, W: w, Lengths: d.one()},
		device.Transpose{B: d.size(4), M: t, N: w},
		device.Patchify{B: d.size(4), H: side * d.size(9), W: side * d.size(9), C: d.size(5), P: side})
}

func (d draw) optimiser() Trial {
	n := d.size(5000)
	t := d.pick(5e-6, device.AdamW{N: n, Beta1: .9, Beta2: .98, Eps: 1e-6}, device.SGD{N: n, Momentum: .9}, device.Lion{N: n, Beta1: .9, Beta2: .99}, device.Average{N: n})
	t.Scalars = []float64{1e-2, .2, .5}
	if _, ok := t.Kernel.(device.AdamW); ok {
		t.Scalars = append(t.Scalars, float64(1+d.IntN(5)))
	}
	return t
}
