package devicetest

import "tandem/core/engine/device"

// Trial pairs a kernel with the tolerance of its outputs, relative to the largest magnitude of each
// output: sums of K products round by about √K·2⁻²⁴.
type Trial struct {
	Kernel  device.Kernel
	Tol     float64
	Scalars []float64
	// Rare, unless 0, is the tolerance of some elements: those that depend on a number rounded to bfloat16 within the
	// kernel, which Real computes just below or just above the middle of two.
	Rare float64
}

// Trials cover every kernel: odd sizes, one row, sizes that are split over threads or blocks.
func Trials() []Trial {
	var list []Trial
	add := func(tol float64, k device.Kernel, scalars ...float64) {
		list = append(list, Trial{Kernel: k, Tol: tol, Scalars: scalars})
		if half := device.WithBF16(k); half != k {
			list = append(list, Trial{Kernel: half, Tol: tol, Scalars: scalars})
		}
	}
	for _, s := range [][3]int{{1, 1, 1}, {7, 5, 3}, {1, 64, 33}, {130, 97, 65}, {272, 384, 128}} {
		m, n, k := s[0], s[1], s[2]
		for bits := range 4 {
			add(2e-6, device.MatMul{Batch: 1, M: m, N: n, K: k, TransA: bits&1 != 0, TransB: bits&2 != 0, Weights: bits == 2})
			add(2e-6, device.MatMul{Batch: 3, M: m, N: n, K: k, TransA: bits&1 != 0, TransB: bits&2 != 0, Bias: bits == 1})
		}
		for act := device.Identity; act <= device.TanhGELU; act++ {
			add(2e-6, device.MatMul{Batch: 1, M: m, N: n, K: k, TransB: true, Bias: true, Act: act, Weights: true})
			add(2e-6, device.MatMul{Batch: 1, M: m, N: n, K: k, TransB: true, Bias: true, Residual: true, Act: act})
			add(1e-5, device.MatMul{Batch: 1, M: m, N: n, K: k, Gate: true, Act: act, Slope: true, Weights: true})
			add(2e-6, device.MatMul{Batch: 1, M: m, N: n, K: k, TransA: true, Gate: true, Act: act})
			add(1e-5, device.MatMul{Batch: 2, M: m, N: n, K: k, Bias: true, Residual: true, Act: act, Slope: true})
			add(1e-5, device.MatMul{Batch: 1, M: m, N: n, K: k, TransB: true, Bias: true, Residual: true, Act: act, Slope: true}, 0.5)
			add(2e-6, device.MatMul{Batch: 1, M: m, N: n, K: k, TransB: true, Bias: true, Act: act}, -2)
		}
	}
	for _, n := range []int{1, 15, 1000, 70001} {
		for act := device.Identity; act <= device.TanhGELU; act++ {
			add(1e-6, device.Act{N: n, Act: act})
			add(1e-6, device.ActBack{N: n, Act: act})
		}
		for _, op := range []byte{device.OpAdd, device.OpSub, device.OpMul} {
			add(2e-7, device.Binary{N: n, Period: n, Op: op})
			add(2e-7, device.Binary{N: n, Period: 1, Op: op})
			add(2e-7, device.Binary{N: 12 * n, Period: 3 * n, Op: op})
		}
		add(2e-7, device.Scale{N: n}, 0.3, -1.5)
		add(2e-7, device.Accumulate{N: n})
		add(2e-7, device.Accumulate{N: n}, -0.7)
		add(1e-6, device.SumSquares{N: n})
		add(1e-6, device.ScaleBy{N: n, Exp: true})
		add(1e-6, device.ScaleBy{N: n})
		add(2e-6, device.ScaleByBack{N: n, Exp: true})
		add(2e-6, device.ScaleByBack{N: n})
		add(1e-6, device.Softplus{N: n})
		add(1e-6, device.SoftplusBack{N: n})
		add(1e-6, device.Normalize{N: n, Mean: [3]float64{.48, .46, .41}, Std: [3]float64{.27, .26, .28}})
		add(2e-6, device.AdamW{N: n, Beta1: .9, Beta2: .98, Eps: 1e-6}, 1e-2, .2, .5, 3)
		add(1e-6, device.SGD{N: n, Momentum: .9}, 1e-2, .2, .5)
		add(1e-6, device.Lion{N: n, Beta1: .9, Beta2: .99}, 1e-2, .2, .5)
		add(2e-7, device.Average{N: n}, 1e-4)
	}
	for _, s := range [][2]int{{1, 1}, {1, 33}, {7, 5}, {130, 257}, {900, 128}, {40, 1024}} {
		r, c := s[0], s[1]
		add(1e-6, device.SumRows{Rows: r, Cols: c})
		add(1e-6, device.SumCols{Rows: r, Cols: c})
		add(1e-6, device.BroadcastRows{Rows: r, Cols: c}, 0.25)
		add(3e-6, device.LayerNorm{Rows: r, Cols: c, Eps: 1e-5})
		add(1e-5, device.LayerNormBack{Rows: r, Cols: c, Eps: 1e-2})
		add(1e-6, device.L2Norm{Rows: r, Cols: c, Eps: 1e-12})
		add(1e-6, device.L2Norm{Rows: r, Cols: c, Eps: 1e3})
		add(2e-6, device.L2NormBack{Rows: r, Cols: c, Eps: 1e-12})
		add(2e-6, device.L2NormBack{Rows: r, Cols: c, Eps: 1e3})
		for _, smooth := range []float64{0, .1, 1} {
			add(1e-6, device.CrossEntropy{Rows: r, Cols: c, Smooth: smooth})
			add(1e-6, device.CrossEntropyBack{Rows: r, Cols: c, Smooth: smooth})
		}
		add(0, device.Gather{Rows: 11, Cols: c, N: r})
		add(1e-6, device.GatherBack{Rows: 11, Cols: c, N: r})
		add(0, device.Transpose{B: 3, M: r, N: c})
		add(1e-6, device.BatchStats{Rows: r, C: c})
		add(1e-6, device.RunningStats{Rows: r, C: c, Momentum: .1})
		for _, act := range []device.Activation{device.Identity, device.ReLU} {
			add(1e-6, device.BatchNorm{Rows: r, C: c, Eps: 1e-5, Act: act})
			for _, training := range []bool{false, true} {
				add(5e-6, device.BatchNormBack{Rows: r, C: c, Eps: 1e-5, Act: act, Training: training})
			}
			add(1e-6, device.BatchNorm{Rows: r, C: c, Eps: 1e-5, Act: act, Residual: true})
		}
		for _, training := range []bool{false, true} {
			add(5e-6, device.BatchNormBack{Rows: r, C: c, Eps: 1e-5, Act: device.ReLU, Training: training, Residual: true})
		}
	}
	for _, s := range [][4]int{{1, 1, 1, 1}, {2, 17, 2, 64}, {3, 50, 3, 64}, {2, 77, 4, 32}, {5, 7, 3, 5}, {2, 33, 1, 48}, {16, 20, 4, 32},
		{2, 77, 1, 64}, {1, 150, 2, 64}, {1, 70, 1, 104}, {1, 37, 1, 200}} {
		for bits := range 4 {
			a := device.Attention{B: s[0], Tq: s[1], Tk: s[1], Heads: s[2], HeadDim: s[3], Causal: bits&1 != 0, Packed: bits&2 != 0}
			add(3e-6, a)
			add(5e-6, device.AttentionBack(a))
		}
		for _, tq := range []int{1, s[1]/2 + 1} {
			pooled := device.Attention{B: s[0], Tq: tq, Tk: s[1], Heads: s[2], HeadDim: s[3]}
			add(3e-6, pooled)
			add(5e-6, device.AttentionBack(pooled))
		}
	}
	for _, s := range [][4]int{{1, 1, 1, 1}, {3, 17, 2, 64}, {5, 7, 3, 5}, {64, 20, 4, 32}, {45, 45, 1, 72}} {
		for _, causal := range []bool{false, true} {
			for _, rows := range []int{0, s[0] * s[1]} {
				a := device.AttentionAt{B: s[0], T: s[1], Heads: s[2], HeadDim: s[3], Causal: causal, Rows: rows}
				add(3e-6, a)
				add(5e-6, device.AttentionAtBack(a))
			}
			spans := device.Attention{B: s[0], Tq: s[1], Tk: s[1], Heads: s[2], HeadDim: s[3], Causal: causal, Packed: true, Rows: s[0] * s[1]}
			add(3e-6, spans)
			add(5e-6, device.AttentionBack(spans))
		}
	}
	for _, c := range []device.Conv2D{
		{B: 1, H: 1, W: 1, InC: 1, OutC: 1, KH: 1, KW: 1, Stride: 1},
		{B: 2, H: 9, W: 7, InC: 3, OutC: 5, KH: 3, KW: 3, Stride: 1, Pad: 1},
		{B: 3, H: 16, W: 16, InC: 16, OutC: 32, KH: 3, KW: 3, Stride: 1, Pad: 1},
		{B: 2, H: 15, W: 16, InC: 3, OutC: 16, KH: 3, KW: 3, Stride: 2, Pad: 1},
		{B: 2, H: 33, W: 32, InC: 3, OutC: 16, KH: 7, KW: 7, Stride: 2, Pad: 3},
		{B: 2, H: 14, W: 13, InC: 32, OutC: 64, KH: 1, KW: 1, Stride: 1},
		{B: 2, H: 14, W: 13, InC: 32, OutC: 48, KH: 1, KW: 1, Stride: 2},
	} {
		add(3e-6, device.ConvForward{Conv2D: c})
		add(3e-6, device.ConvBackData{Conv2D: c})
		add(3e-6, device.ConvBackWeights{Conv2D: c})
	}
	for _, p := range []device.Pool2D{
		{B: 1, H: 1, W: 1, C: 1, Size: 1, Stride: 1},
		{B: 3, H: 8, W: 10, C: 33, Size: 2, Stride: 2},
		{B: 2, H: 9, W: 8, C: 16, Size: 3, Stride: 2},
		{B: 2, H: 32, W: 31, C: 64, Size: 3, Stride: 2, Pad: 1},
	} {
		add(0, device.MaxPool{Pool2D: p})
		add(1e-6, device.MaxPoolBack{Pool2D: p})
		if p.Pad == 0 {
			add(1e-6, device.AvgPool{Pool2D: p})
			add(1e-6, device.AvgPoolBack{Pool2D: p})
		}
	}
	for _, s := range [][4]int{{1, 1, 1, 1}, {3, 5, 7, 2}, {130, 17, 33, 5}} {
		b, t, w, n := s[0], s[1], s[2], s[3]
		add(0, device.Concat{B: b, TA: t, TC: n, W: w})
		add(0, device.Concat{B: b, TA: t, TC: n, W: w, BroadcastA: true})
		n = min(n, t)
		add(0, device.Slice{B: b, T: t, W: w, From: t - n, N: n})
		add(0, device.SliceBack{B: b, T: t, W: w, From: t - n, N: n})
		for _, lengths := range []bool{false, true} {
			add(1e-6, device.MeanTokens{B: b, T: t, W: w, Lengths: lengths})
			add(1e-6, device.MeanTokensBack{B: b, T: t, W: w, Lengths: lengths})
		}
	}
	for _, p := range []device.Patchify{{B: 1, H: 1, W: 1, C: 1, P: 1}, {B: 3, H: 6, W: 9, C: 3, P: 3}, {B: 40, H: 32, W: 32, C: 3, P: 8}} {
		add(0, p)
	}
	return list
}

// Fused holds trials of kernels that only a device.Fuser may have.
func Fused() []Trial {
	var list []Trial
	for _, s := range [][2]int{{1, 1}, {1, 33}, {7, 5}, {130, 257}, {900, 128}, {40, 1024}, {33, 1500}} {
		list = append(list, Trial{Kernel: device.LayerNormBack{Rows: s[0], Cols: s[1], Eps: 1e-2, Residual: true}, Tol: 1e-5})
	}
	for _, s := range [][3]int{{1, 1, 1}, {7, 5, 3}, {64, 33, 1}, {97, 65, 130}, {384, 128, 900}} {
		k := device.MatMul{Batch: 1, M: s[0], N: s[1], K: s[2], TransA: true, RowSums: true}
		list = append(list, Trial{Kernel: k, Tol: 3e-6}, Trial{Kernel: k.WithBF16(), Tol: 3e-6}, Trial{Kernel: k, Tol: 3e-6, Scalars: []float64{.5}})
	}
	for _, c := range []device.Conv2D{
		{B: 1, H: 1, W: 1, InC: 1, OutC: 1, KH: 1, KW: 1, Stride: 1}, {B: 3, H: 7, W: 5, InC: 24, OutC: 40, KH: 1, KW: 1, Stride: 1},
		{B: 2, H: 7, W: 6, InC: 8, OutC: 16, KH: 3, KW: 2, Stride: 2, Pad: 1},
	} {
		k := device.ConvBackData{Conv2D: c, Residual: true}
		list = append(list, Trial{Kernel: k, Tol: 5e-6}, Trial{Kernel: k.WithBF16(), Tol: 5e-6})
	}
	return list
}
