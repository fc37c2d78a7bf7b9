package device

// Pool2D holds the sizes of a window of Size with Stride and zero padding over [B, H, W, C].
type Pool2D struct{ B, H, W, C, Size, Stride, Pad int }

// OutSize returns the height and width of the pooled map.
func (p Pool2D) OutSize() (oh, ow int) {
	return (p.H+2*p.Pad-p.Size)/p.Stride + 1, (p.W+2*p.Pad-p.Size)/p.Stride + 1
}

// elements checks the sizes and returns how many elements x and y have.
func (p Pool2D) elements(d *describer) (x, y int) {
	if !d.sizes(p.B, p.H, p.W, p.C) || !d.sizes(p.Size, p.Stride) {
		return
	}
	d.require(p.Pad >= 0 && 2*p.Pad <= p.Size, "padding %d is more than half the window", p.Pad)
	d.require(p.H+2*p.Pad >= p.Size && p.W+2*p.Pad >= p.Size, "the window is larger than the padded map")
	oh, ow := p.OutSize()
	return p.B * p.H * p.W * p.C, p.B * oh * ow * p.C
}

// averages does what elements does for average pooling, which would have to know how much of a window is padding.
func (p Pool2D) averages(d *describer) (x, y int) {
	d.require(p.Pad == 0, "average pooling has no padding")
	return p.elements(d)
}

// AvgPool takes the mean of each window; Pad must be 0. Args: x → y [B, OH, OW, C].
type AvgPool struct{ Pool2D }

func (k AvgPool) describe(d *describer) {
	x, y := k.averages(d)
	d.halves(d.in("x", x), d.feeds("y", y))
}

// Items returns the maps of the batch.
func (k AvgPool) Items() int { return k.B }

// WithItems implements Itemized.
func (k AvgPool) WithItems(n int) Kernel {
	k.B = n
	return k
}

// AvgPoolBack computes the gradient of AvgPool. Args: dy → dx.
type AvgPoolBack struct{ Pool2D }

func (k AvgPoolBack) describe(d *describer) {
	x, y := k.averages(d)
	d.halves(d.in("dy", y), d.feeds("dx", x))
}

// MaxPool takes the maximum of each window. Args: x → y [B, OH, OW, C].
type MaxPool struct{ Pool2D }

func (k MaxPool) describe(d *describer) {
	x, y := k.elements(d)
	d.halves(d.in("x", x), d.out("y", y))
}

// Items returns the maps of the batch.
func (k MaxPool) Items() int { return k.B }

// WithItems implements Itemized.
func (k MaxPool) WithItems(n int) Kernel {
	k.B = n
	return k
}

// MaxPoolBack gives the gradient to the first maximum of each window. Args: x, dy → dx.
type MaxPoolBack struct{ Pool2D }

func (k MaxPoolBack) describe(d *describer) {
	x, y := k.elements(d)
	d.halves(d.in("x", x), d.in("dy", y), d.out("dx", x))
}
