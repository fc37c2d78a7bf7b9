package graph

import "tandem/core/engine/device"

// Normalize turns pictures u8 [B, H, W, 3] into numbers (x/255 − mean[c])/std[c]. It has no gradient.
func Normalize(x *Node, mean, std [3]float64) *Node {
	g := x.g
	if g.unusable(x) {
		return x
	}
	if x.dtype != device.U8 || x.Dim(-1) != 3 {
		return g.fail("normalize", "x is %s %v, want u8 [B, H, W, 3]", x.dtype, x)
	}
	return g.apply(op{name: "normalize", shape: x.shape, part: noPart,
		kernel: device.Normalize{N: x.rows(), Mean: mean, Std: std}}, x)
}

// Patchify cuts pictures x [B, H, W, C] into p×p patches: [B, (H/p)·(W/p), C·p·p], row by row, the
// columns in the order of a flattened convolution weight [N, C, p, p]. So a convolution of kernel and
// stride p is Linear on the patches. It has no gradient: it stands on the input.
func Patchify(x *Node, p int) *Node {
	g := x.g
	if g.unusable(x) {
		return x
	}
	if x.Dims() != 4 || p < 1 || x.Dim(1)%p != 0 || x.Dim(2)%p != 0 {
		return g.fail("patchify", "x is %v, want [B, H, W, C] with H and W multiples of the patch size %d", x, p)
	}
	b, h, w, c := x.Dim(0), x.Dim(1), x.Dim(2), x.Dim(3)
	return g.apply(op{name: "patchify", shape: []int{b, (h / p) * (w / p), c * p * p}, part: noPart,
		kernel: device.Patchify{B: b, H: h, W: w, C: c, P: p}}, x)
}

// Conv2D computes a convolution without bias and with zero padding on all sides: x [B, H, W, InC], w [OutC, InC, KH,
// KW] → [B, OH, OW, OutC], OH = (H + 2·pad − KH)/stride + 1.
func Conv2D(x, w *Node, stride, pad int) *Node {
	g := x.g
	if g.unusable(x, w) {
		return &Node{g: g}
	}
	if x.Dims() != 4 || w.Dims() != 4 || x.Dim(3) != w.Dim(1) || stride < 1 || pad < 0 {
		return g.fail("conv2d", "x is %v, w %v; want x [B, H, W, InC] and w [OutC, InC, KH, KW] (stride %d, pad %d)", x, w, stride, pad)
	}
	c := device.Conv2D{B: x.Dim(0), H: x.Dim(1), W: x.Dim(2), InC: x.Dim(3), OutC: w.Dim(0), KH: w.Dim(2), KW: w.Dim(3),
		Stride: stride, Pad: pad}
	if c.H+2*pad < c.KH || c.W+2*pad < c.KW {
		return g.fail("conv2d", "x is %v: the kernel of w %v is larger than the map padded by %d", x, w, pad)
	}
	oh, ow := c.OutSize()
	return g.apply(op{name: "conv2d", shape: []int{c.B, oh, ow, c.OutC}, part: noPart,
		wrt: []bool{true, true}, kernel: device.ConvForward{Conv2D: c},
		diff: func(in []*Node, _, dy *Node) []*Node {
			dw := g.apply(op{name: "conv2d.back_weights", shape: in[1].shape, part: noPart,
				kernel: device.ConvBackWeights{Conv2D: c}}, in[0], dy)
			dx := g.apply(op{name: "conv2d.back_data", shape: in[0].shape, part: noPart,
				kernel: device.ConvBackData{Conv2D: c}}, in[1], dy)
			return []*Node{dx, dw}
		}}, x, w)
}

// AvgPool takes the mean of size×size windows of x [B, H, W, C].
func AvgPool(x *Node, size, stride int) *Node {
	p, ok := pool(x, "avg_pool", size, stride, 0)
	if !ok {
		return &Node{g: x.g}
	}
	oh, ow := p.OutSize()
	return x.g.apply(op{name: "avg_pool", shape: []int{p.B, oh, ow, p.C}, part: noPart, wrt: []bool{true},
		kernel: device.AvgPool{Pool2D: p},
		diff: func(in []*Node, _, dy *Node) []*Node {
			return []*Node{dy.g.apply(op{name: "avg_pool.back", shape: in[0].shape, part: noPart,
				kernel: device.AvgPoolBack{Pool2D: p}}, dy)}
		}}, x)
}

// MaxPool takes the maximum of size×size windows of x [B, H, W, C]. Padding never wins.
func MaxPool(x *Node, size, stride, pad int) *Node {
	p, ok := pool(x, "max_pool", size, stride, pad)
	if !ok {
		return &Node{g: x.g}
	}
	oh, ow := p.OutSize()
	return x.g.apply(op{name: "max_pool", shape: []int{p.B, oh, ow, p.C}, part: noPart, wrt: []bool{true},
		kernel: device.MaxPool{Pool2D: p},
		diff: func(in []*Node, _, dy *Node) []*Node {
			return []*Node{dy.g.apply(op{name: "max_pool.back", shape: in[0].shape, part: noPart,
				kernel: device.MaxPoolBack{Pool2D: p}}, in[0], dy)}
		}}, x)
}

func pool(x *Node, name string, size, stride, pad int) (device.Pool2D, bool) {
	if x.g.unusable(x) {
		return device.Pool2D{}, false
	}
	if x.Dims() != 4 || size < 1 || stride < 1 || pad < 0 || x.Dim(1)+2*pad < size || x.Dim(2)+2*pad < size {
		x.g.fail(name, "x is %v, want [B, H, W, C] no smaller than a window of %d (stride %d, pad %d)", x, size, stride, pad)
		return device.Pool2D{}, false
	}
	return device.Pool2D{B: x.Dim(0), H: x.Dim(1), W: x.Dim(2), C: x.Dim(3), Size: size, Stride: stride, Pad: pad}, true
}
