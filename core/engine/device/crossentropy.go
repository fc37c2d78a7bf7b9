package device

// CrossEntropy computes out[i] = logsumexp(x[i, :]) − Σj q[i, j]·x[i, j], where q puts 1 − Smooth on
// targets[i] and spreads Smooth evenly over all Cols. Args: x [Rows, Cols], targets i32 [Rows] →
// out [Rows], in nats.
type CrossEntropy struct {
	Rows, Cols int
	Smooth     float64
}

func (k CrossEntropy) describe(d *describer) {
	k.inputs(d)
	d.out("out", k.Rows)
}

// inputs checks the fields and adds the inputs of both passes.
func (k CrossEntropy) inputs(d *describer) {
	d.sizes(k.Rows, k.Cols)
	d.require(k.Smooth >= 0 && k.Smooth <= 1, "smooth %v is outside [0, 1]", k.Smooth)
	d.in("x", k.Rows*k.Cols)
	d.indices("targets", k.Rows, k.Cols)
}

// CrossEntropyBack computes the gradient of CrossEntropy. Args: x, targets, dout [Rows] → dx [Rows, Cols].
type CrossEntropyBack struct {
	Rows, Cols int
	Smooth     float64
}

func (k CrossEntropyBack) describe(d *describer) {
	CrossEntropy(k).inputs(d)
	d.in("dout", k.Rows)
	d.out("dx", k.Rows*k.Cols)
}
