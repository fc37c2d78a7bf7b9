package device

// BatchStats computes mean and biased variance per channel. Args: x [Rows, C] → stats [2, C].
type BatchStats struct{ Rows, C int }

func (k BatchStats) describe(d *describer) {
	d.sizes(k.Rows, k.C)
	d.halves(d.in("x", k.Rows*k.C))
	d.out("stats", 2*k.C)
}

// BatchNorm computes y = act((x − mean)/sqrt(var + Eps)·γ + β) with given statistics (Ioffe & Szegedy
// 2015). Act is Identity or ReLU. With Residual, residual is added before act, as at the end of a block of
// a ResNet. Args: x [Rows, C], stats [2, C], γ [C], β [C], residual [Rows, C] → y [Rows, C].
type BatchNorm struct {
	Rows, C  int
	Eps      float64
	Act      Activation
	Residual bool
}

func (k BatchNorm) describe(d *describer) {
	d.sizes(k.Rows, k.C)
	d.identityOrReLU(k.Act)
	d.halves(d.in("x", k.Rows*k.C))
	d.in("stats", 2*k.C)
	d.in("gamma", k.C)
	d.in("beta", k.C)
	residual := d.optional("residual", k.Rows*k.C, k.Residual)
	d.halves(d.feeds("y", k.Rows*k.C))
	if k.Residual {
		d.halves(residual)
	}
}

// Items returns the rows: the statistics are given.
func (k BatchNorm) Items() int { return k.Rows }

// WithItems implements Itemized.
func (k BatchNorm) WithItems(n int) Kernel {
	k.Rows = n
	return k
}

// BatchNormBack computes the gradient of BatchNorm. With Training the statistics are x's own and the
// gradient flows through them.
//
// ReLU masks dy. Without Residual the mask is computed from x again, which takes β, so that the output need
// not be kept. With Residual it is the sign of y, the output, which what follows keeps for itself; dresidual
// is dy masked. Without ReLU, dresidual would be dy: there is no such kernel.
//
// Args: x, stats, γ, β (for ReLU without Residual), y (for Residual), dy → dx [Rows, C], dγ [C], dβ [C],
// dresidual [Rows, C] (for Residual).
type BatchNormBack struct {
	Rows, C  int
	Eps      float64
	Act      Activation
	Training bool
	Residual bool
}

func (k BatchNormBack) describe(d *describer) {
	d.sizes(k.Rows, k.C)
	d.identityOrReLU(k.Act)
	d.require(!k.Residual || k.Act == ReLU, "without ReLU the gradient of the residual is that of the output")
	d.halves(d.in("x", k.Rows*k.C))
	d.in("stats", 2*k.C)
	d.in("gamma", k.C)
	d.optional("beta", k.C, k.Act == ReLU && !k.Residual)
	y := d.optional("y", k.Rows*k.C, k.Residual)
	d.halves(d.in("dy", k.Rows*k.C), d.feeds("dx", k.Rows*k.C))
	d.out("dgamma", k.C)
	d.out("dbeta", k.C)
	if k.Residual {
		d.halves(y, d.out("dresidual", k.Rows*k.C))
	}
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
