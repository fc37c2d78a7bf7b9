package device

// Normalize turns pictures into numbers: y = (x/255 − Mean[c])/Std[c].
// Args: x u8 [N, 3] → y [N, 3].
type Normalize struct {
	N         int
	Mean, Std [3]float64
}

func (k Normalize) describe(d *describer) {
	d.sizes(k.N)
	for _, std := range k.Std {
		d.require(std > 0, "std %v must be positive", k.Std)
	}
	d.add(Arg{Name: "x", DType: U8, Len: 3 * k.N})
	d.out("y", 3*k.N)
}

// Patchify cuts pictures into P×P patches in the column order of a flattened convolution weight:
// out[b·gh·gw + gy·gw + gx, (c·P + py)·P + px] = x[b, gy·P+py, gx·P+px, c].
// Args: x [B, H, W, C] → out [B·(H/P)·(W/P), C·P·P].
type Patchify struct{ B, H, W, C, P int }

func (k Patchify) describe(d *describer) {
	if d.sizes(k.B, k.H, k.W, k.C, k.P) {
		d.require(k.H%k.P == 0 && k.W%k.P == 0, "patch %d does not divide %dx%d", k.P, k.H, k.W)
	}
	d.in("x", k.B*k.H*k.W*k.C)
	d.feeds("out", k.B*k.H*k.W*k.C)
}

// Items returns the pictures of the batch.
func (k Patchify) Items() int { return k.B }

// WithItems implements Itemized.
func (k Patchify) WithItems(n int) Kernel {
	k.B = n
	return k
}
