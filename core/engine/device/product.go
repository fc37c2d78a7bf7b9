package device

// MatMul computes C = act(op(A)·op(B) + bias) + residual for Batch independent pairs of matrices.
//
// Args: A [Batch, M, K] ([Batch, K, M] when TransA), B [Batch, K, N] ([Batch, N, K] when TransB),
// bias [N] (nil unless Bias), residual [Batch, M, N] (nil unless Residual or Gate; with Gate C is
// multiplied by it instead) → C [Batch, M, N]. With Slope, a second output follows: the derivative of act
// where it was taken, [Batch, M, N], which is all that a backward pass needs of it.
// Weights says that B is a parameter: a backend may keep a packed copy until ParamsChanged.
// BF16 rounds the elements of A and B to bfloat16 first (RoundBF16); products are added up in Real, and
// everything after the sum is in Real too. Where C is Half, a backend may round the bias first, as PyTorch's autocast does.
// With RowSums, of a single product with TransA, a last output follows: Σ over K of A [K, M] as it is given, [M]. It is
// the gradient of a bias beside that of the weights (SumRows). Only a Fuser may have it.
// Scalars: alpha (default 1), multiplied onto op(A)·op(B).
type MatMul struct {
	Batch, M, N, K int
	TransA, TransB bool
	Bias           bool
	Residual, Gate bool // at most one of them
	Act            Activation
	Slope          bool
	Weights        bool
	BF16           bool
	RowSums        bool
}

func (k MatMul) describe(d *describer) {
	d.sizes(k.Batch, k.M, k.N, k.K)
	d.activation(k.Act)
	d.require(!(k.Residual && k.Gate), "a residual and a gate")
	result := k.Batch * k.M * k.N
	a, b := d.in("a", k.Batch*k.M*k.K), d.in("b", k.Batch*k.K*k.N)
	bias := d.optional("bias", k.N, k.Bias)
	residual := d.optional("residual", result, k.Residual || k.Gate)
	c := d.out("c", result)
	slope := c
	if k.Slope {
		slope = d.out("slope", result)
	}
	d.require(!k.RowSums || k.TransA && k.Batch == 1, "row sums need a single product with TransA")
	if k.RowSums {
		d.out("sums", k.M)
	}
	d.FLOPs = 2 * float64(k.Batch) * float64(k.M) * float64(k.N) * float64(k.K)
	if k.Weights {
		d.Weights = At(b)
	}
	if k.BF16 {
		d.rounds(a, b)
	}
	if k.BF16 && k.Slope {
		d.Operands |= At(c) // the product itself is float32: it is written where the slope goes
	}
	if k.BF16 {
		d.halves(c, slope)
		if k.Bias {
			d.halves(bias)
		}
		if k.Residual || k.Gate {
			d.halves(residual)
		}
	}
}

// WithBF16 returns the product with BF16 set.
func (k MatMul) WithBF16() Kernel {
	k.BF16 = true
	return k
}

// Items returns the matrices of a batch, or the rows of a single product. With TransA rows are columns of A, so
// that fewer of them lie elsewhere.
func (k MatMul) Items() int {
	switch {
	case k.Batch > 1:
		return k.Batch
	case k.TransA:
		return 0
	}
	return k.M
}

// WithItems implements Itemized.
func (k MatMul) WithItems(n int) Kernel {
	if k.Batch > 1 {
		k.Batch = n
	} else {
		k.M = n
	}
	return k
}

// GradientShape returns the shape of the left operand where that is the gradient of a linear layer's output, else
// 0, 0. Such are the products that make the gradient of weights, and those with weights that are not transposed.
// The rows of such a gradient are usually summed next, for the bias.
func (k MatMul) GradientShape() (rows, cols int) {
	switch {
	case k.Batch > 1:
	case k.TransA && !k.TransB:
		return k.K, k.M
	case !k.TransA && !k.TransB && k.Weights:
		return k.M, k.K
	}
	return 0, 0
}
