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

// BatchStats computes mean and biased variance per channel. Args: x [Rows, C] → stats [2, C].
type BatchStats struct{ Rows, C int }

func (k BatchStats) describe(d *describer) {
	d.sizes(k.Rows, k.C)
	d.in("x", k.Rows*k.C)
	d.out("stats", 2*k.C)
}

// BatchNorm computes y = act((x − mean)/sqrt(var + Eps)·γ + β) with given statistics (Ioffe & Szegedy
// 2015). Act is Identity or ReLU. Args: x [Rows, C], stats [2, C], γ [C], β [C] → y [Rows, C].
type BatchNorm struct {
	Rows, C int
	Eps     float64
	Act     Activation
}

func (k BatchNorm) describe(d *describer) {
	d.sizes(k.Rows, k.C)
	d.identityOrReLU(k.Act)
	d.in("x", k.Rows*k.C)
	d.in("stats", 2*k.C)
	d.in("gamma", k.C)
	d.in("beta", k.C)
	d.out("y", k.Rows*k.C)
}

// Items returns the rows: the statistics are given.
func (k BatchNorm) Items() int { return k.Rows }

// WithItems implements Itemized.
func (k BatchNorm) WithItems(n int) Kernel {
	k.Rows = n
	return k
}

// BatchNormBack computes the gradient of BatchNorm. With Training the statistics are x's own and the
// gradient flows through them. For Act = ReLU, y (the output) masks dy; else y is nil.
// Args: x, stats, γ, y, dy → dx [Rows, C], dγ [C], dβ [C].
type BatchNormBack struct {
	Rows, C  int
	Eps      float64
	Act      Activation
	Training bool
}

func (k BatchNormBack) describe(d *describer) {
	d.sizes(k.Rows, k.C)
	d.identityOrReLU(k.Act)
	d.in("x", k.Rows*k.C)
	d.in("stats", 2*k.C)
	d.in("gamma", k.C)
	d.optional("y", k.Rows*k.C, k.Act == ReLU)
	d.in("dy", k.Rows*k.C)
	d.out("dx", k.Rows*k.C)
	d.out("dgamma", k.C)
	d.out("dbeta", k.C)
}

func (d *describer) identityOrReLU(a Activation) {
	d.require(a == Identity || a == ReLU, "activation must be identity or ReLU")
}

// RunningStats moves running statistics: run ← (1 − Momentum)·run + Momentum·batch, the variance of
// the batch made unbiased by Rows/(Rows−1). Args: stats [2, C] → mean [C] (+=), variance [C] (+=).
type RunningStats struct {
	Rows, C  int
	Momentum float64
}

func (k RunningStats) describe(d *describer) {
	d.sizes(k.Rows, k.C)
	d.in("stats", 2*k.C)
	d.out("mean", k.C)
	d.out("variance", k.C)
}
