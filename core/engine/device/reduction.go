package device

// SumRows computes out[j] = Σi x[i, j]: a bias gradient. Args: x [Rows, Cols] → out [Cols].
type SumRows struct{ Rows, Cols int }

func (k SumRows) describe(d *describer) {
	d.sizes(k.Rows, k.Cols)
	d.halves(d.in("x", k.Rows*k.Cols))
	d.out("out", k.Cols)
}

// SumCols computes out[i] = Σj x[i, j]. Args: x [Rows, Cols] → out [Rows].
type SumCols struct{ Rows, Cols int }

func (k SumCols) describe(d *describer) {
	d.sizes(k.Rows, k.Cols)
	d.in("x", k.Rows*k.Cols)
	d.out("out", k.Rows)
}

// Items returns the rows.
func (k SumCols) Items() int { return k.Rows }

// WithItems implements Itemized.
func (k SumCols) WithItems(n int) Kernel {
	k.Rows = n
	return k
}

// BroadcastRows repeats a row: out[i, j] = scale·x[j]. Args: x [Cols] → out [Rows, Cols].
// Scalars: scale (default 1).
type BroadcastRows struct{ Rows, Cols int }

func (k BroadcastRows) describe(d *describer) {
	d.sizes(k.Rows, k.Cols)
	d.in("x", k.Cols)
	d.out("out", k.Rows*k.Cols)
}

// SumSquares computes out = Σ x². Args: x [N] → out [1]. Summed in double where the hardware allows.
type SumSquares struct{ N int }

func (k SumSquares) describe(d *describer) {
	d.sizes(k.N)
	d.in("x", k.N)
	d.out("out", 1)
}
