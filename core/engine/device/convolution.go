package device

// Conv2D holds the sizes of a convolution without bias: NHWC, weights [OutC, InC, KH, KW], zero padding on all
// sides. OH = (H + 2·Pad − KH)/Stride + 1. BF16 is as for MatMul: both inputs are rounded, the result is not, but for
// maps that are Half.
type Conv2D struct {
	B, H, W, InC, OutC, KH, KW, Stride, Pad int
	BF16                                    bool
}

// OutSize returns the height and width of the convolution's output.
func (c Conv2D) OutSize() (oh, ow int) {
	return (c.H+2*c.Pad-c.KH)/c.Stride + 1, (c.W+2*c.Pad-c.KW)/c.Stride + 1
}

// Single reports whether windows are the pixels: the convolution is a product of all pixels and the weights.
func (c Conv2D) Single() bool { return c.KH == 1 && c.KW == 1 && c.Stride == 1 && c.Pad == 0 }

// elements checks the sizes and returns how many elements x, the weights and y have.
func (c Conv2D) elements(d *describer) (x, w, y int) {
	if !d.sizes(c.B, c.H, c.W, c.InC) || !d.sizes(c.OutC, c.InC, c.KH, c.KW) || !d.sizes(c.Stride) {
		return
	}
	d.require(c.Pad >= 0 && c.H+2*c.Pad >= c.KH && c.W+2*c.Pad >= c.KW, "the window is larger than the padded map")
	oh, ow := c.OutSize()
	d.FLOPs = 2 * float64(c.B*oh*ow) * float64(c.OutC) * float64(c.InC*c.KH*c.KW)
	return c.B * c.H * c.W * c.InC, c.OutC * c.InC * c.KH * c.KW, c.B * oh * ow * c.OutC
}

// operands says that the kernel multiplies these two inputs.
func (c Conv2D) operands(d *describer, a, b int) {
	if c.BF16 {
		d.rounds(a, b)
	}
}

// makes says that this is the map that the kernel makes of them, or is added to it.
func (c Conv2D) makes(d *describer, place int) {
	if c.BF16 {
		d.halves(place)
	}
}

// ConvForward computes the convolution. Args: x [B, H, W, InC], w → y [B, OH, OW, OutC].
type ConvForward struct{ Conv2D }

func (k ConvForward) describe(d *describer) {
	nx, nw, ny := k.elements(d)
	x, w := d.in("x", nx), d.in("w", nw)
	k.makes(d, d.out("y", ny))
	d.Weights = At(w)
	k.operands(d, x, w)
}

// WithBF16 returns the kernel with BF16 set.
func (k ConvForward) WithBF16() Kernel {
	k.BF16 = true
	return k
}

// Items returns the pictures of the batch.
func (k ConvForward) Items() int { return k.B }

// WithItems implements Itemized.
func (k ConvForward) WithItems(n int) Kernel {
	k.B = n
	return k
}

// ConvBackData computes the gradient of the convolution's input. Args: w, dy → dx.
//
// With Residual, a gradient [B, H, W, InC] that reaches x another way follows dy, and dx is the sum of both. Only a Fuser may
// have it.
type ConvBackData struct {
	Conv2D
	Residual bool
}

func (k ConvBackData) describe(d *describer) {
	nx, nw, ny := k.elements(d)
	w, dy := d.in("w", nw), d.in("dy", ny)
	if k.Residual {
		k.makes(d, d.in("residual", nx))
	}
	k.makes(d, d.out("dx", nx))
	d.Weights = At(w)
	k.operands(d, w, dy)
}

// WithBF16 returns the kernel with BF16 set.
func (k ConvBackData) WithBF16() Kernel {
	k.BF16 = true
	return k
}

// ConvBackWeights computes the gradient of the convolution's weights. Args: x, dy → dw.
type ConvBackWeights struct{ Conv2D }

func (k ConvBackWeights) describe(d *describer) {
	nx, nw, ny := k.elements(d)
	x, dy := d.in("x", nx), d.in("dy", ny)
	d.out("dw", nw)
	k.operands(d, x, dy)
}

// WithBF16 returns the kernel with BF16 set.
func (k ConvBackWeights) WithBF16() Kernel {
	k.BF16 = true
	return k
}
