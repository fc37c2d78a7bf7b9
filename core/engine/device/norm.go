package device

// LayerNorm computes y = (x − mean)/sqrt(var + Eps)·γ + β over the last axis (Ba et al. 2016).
// Args: x [Rows, Cols], γ [Cols], β [Cols] → y [Rows, Cols].
type LayerNorm struct {
	Rows, Cols int
	Eps        float64
}

func (k LayerNorm) describe(d *describer) {
	d.sizes(k.Rows, k.Cols)
	x := d.in("x", k.Rows*k.Cols)
	d.in("gamma", k.Cols)
	d.in("beta", k.Cols)
	d.halves(x, d.feeds("y", k.Rows*k.Cols))
}

// Items returns the rows.
func (k LayerNorm) Items() int { return k.Rows }

// WithItems implements Itemized.
func (k LayerNorm) WithItems(n int) Kernel {
	k.Rows = n
	return k
}

// LayerNormBack computes the gradient of LayerNorm, and the statistics again.
// Args: x, γ, dy → dx [Rows, Cols], dγ [Cols], dβ [Cols].
//
// With Residual, a gradient [Rows, Cols] that reaches x another way follows dy, and dx is the sum of both. Only a Fuser may
// have it.
type LayerNormBack struct {
	Rows, Cols int
	Eps        float64
	Residual   bool
}

func (k LayerNormBack) describe(d *describer) {
	d.sizes(k.Rows, k.Cols)
	x := d.in("x", k.Rows*k.Cols)
	d.in("gamma", k.Cols)
	d.halves(x, d.in("dy", k.Rows*k.Cols))
	if k.Residual {
		d.halves(d.in("residual", k.Rows*k.Cols))
	}
	d.halves(d.out("dx", k.Rows*k.Cols))
	d.out("dgamma", k.Cols)
	d.out("dbeta", k.Cols)
}

// L2Norm makes rows of unit length: y = x/max(‖x‖, Eps). Args: x [Rows, Cols] → y.
type L2Norm struct {
	Rows, Cols int
	Eps        float64
}

func (k L2Norm) describe(d *describer) {
	d.sizes(k.Rows, k.Cols)
	d.unary(k.Rows * k.Cols)
}

// Items returns the rows.
func (k L2Norm) Items() int { return k.Rows }

// WithItems implements Itemized.
func (k L2Norm) WithItems(n int) Kernel {
	k.Rows = n
	return k
}

// L2NormBack computes the gradient of L2Norm. Args: x, dy → dx.
type L2NormBack struct {
	Rows, Cols int
	Eps        float64
}

func (k L2NormBack) describe(d *describer) {
	d.sizes(k.Rows, k.Cols)
	d.gradient(k.Rows * k.Cols)
}
