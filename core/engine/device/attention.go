package device

// Attention computes softmax(scale·q kᵀ + mask)·v per head, scale = HeadDim^-½ (Vaswani et al. 2017).
// W = Heads·HeadDim; head h owns columns [h·HeadDim, (h+1)·HeadDim). Causal masks keys after the
// query (Tq = Tk then).
// Args, Packed: qkv [B, T, 3, W] with Tq = Tk = T → out [B, T, W].
// Args, else: q [B, Tq, W], k [B, Tk, W], v [B, Tk, W] → out [B, Tq, W].
//
// Rows > 0 means packed sequences of different lengths: qkv is [Rows, 3, W] and followed by the argument
// starts i32 [B + 1]; sequence b is rows [starts[b], starts[b+1]), at most Tq of them; the value is [Rows,
// W], and 0 from starts[B] on. Starts out of order or range panic on the host and are undefined elsewhere.
//
// BF16, of packed attention only, rounds what the two products multiply to bfloat16 (RoundBF16): q, k, v and the
// probabilities. Products are added up in Real; scores and softmax are in Real, and so is the value. This is what
// PyTorch's autocast computes. A backend that has such kernels is a BF16Attender.
type Attention struct {
	B, Tq, Tk, Heads, HeadDim int
	Causal, Packed            bool
	Rows                      int
	BF16                      bool
}

func (k Attention) describe(d *describer) {
	nq, nk := k.elements(d)
	k.inputs(d, nq, nk)
	d.feeds("out", nq)
	d.allHalves()
	d.FLOPs = k.flops(2) // q·kᵀ, p·v
}

// elements checks the sizes and returns how many elements q and k have.
func (k Attention) elements(d *describer) (nq, nk int) {
	valid := d.sizes(k.B, k.Tq, k.Heads, k.HeadDim) && d.sizes(k.B, k.Tk, k.Heads, k.HeadDim)
	if !valid {
		return
	}
	d.require(k.Tq == k.Tk || !(k.Packed || k.Causal), "packed and causal attention need Tq = Tk")
	d.require(k.Rows == 0 || k.Packed && k.Rows >= 1, "%d rows, which need packed attention", k.Rows)
	d.require(k.Packed || !k.BF16, "attention in bfloat16 is packed")
	w := k.Heads * k.HeadDim
	nq, nk = k.B*k.Tq*w, k.B*k.Tk*w
	if k.Rows > 0 {
		nq = k.Rows * w
	}
	return nq, nk
}

func (k Attention) inputs(d *describer, nq, nk int) {
	if k.Packed {
		if qkv := d.in("qkv", 3*nq); k.BF16 {
			d.rounds(qkv)
		}
		d.starts(k.B, k.Rows, k.Tq)
		return
	}
	d.in("q", nq)
	d.in("k", nk)
	d.in("v", nk)
}

// flops counts so many products of each query with each key. Lengths that differ are not known here: their mean
// counts, at most.
func (k Attention) flops(products float64) float64 {
	if k.Rows > 0 {
		k.Tk = max(1, k.Rows/max(1, k.B))
		k.Tq = min(k.Tq, k.Tk)
	}
	f := 2 * products * float64(k.B*k.Heads) * float64(k.Tq) * float64(k.Tk) * float64(k.HeadDim)
	if k.Causal {
		f /= 2
	}
	return f
}

// Items returns the sequences; 0 where starts says which rows they have.
func (k Attention) Items() int {
	if k.Rows > 0 {
		return 0
	}
	return k.B
}

// WithItems implements Itemized.
func (k Attention) WithItems(n int) Kernel {
	k.B = n
	return k
}

// AttentionBack computes the gradient of Attention, and the probabilities P again. With dP = dout·vᵀ and dS =
// P·(dP − Σ P·dP) it is dv = Pᵀ·dout, dq = scale·dS·k, dk = scale·dSᵀ·q.
// Args, Packed: qkv, dout → dqkv [B, T, 3, W]. Args, else: q, k, v, dout → dq, dk, dv.
//
// BF16 rounds what the products multiply: q, k, v, dout, and P and dS where they are multiplied with matrices.
type AttentionBack struct {
	B, Tq, Tk, Heads, HeadDim int
	Causal, Packed            bool
	Rows                      int
	BF16                      bool
}

func (k AttentionBack) describe(d *describer) {
	forward := Attention(k)
	nq, nk := forward.elements(d)
	forward.inputs(d, nq, nk)
	if dout := d.in("dout", nq); k.BF16 {
		d.rounds(dout)
	}
	if k.Packed {
		d.out("dqkv", 3*nq)
	} else {
		d.out("dq", nq)
		d.out("dk", nk)
		d.out("dv", nk)
	}
	d.allHalves()
	d.FLOPs = forward.flops(5) // q·kᵀ again, dp, dq, dk, dv
}

// AttentionAt computes Attention for one query of each sequence: what a last block needs when only one token of
// each sequence is pooled. Query b stands at flat place rows[b] = b·T + t; Causal masks the keys after
// t. Places outside sequence b panic on the host and are undefined elsewhere.
// Args: qkv [B, T, 3, W], rows i32 [B] → out [B, W]. Rows > 0 is as for Attention: starts is an argument
// after qkv, and rows are rows of qkv [Rows, 3, W].
type AttentionAt struct {
	B, T, Heads, HeadDim int
	Causal               bool
	Rows                 int
}

func (k AttentionAt) describe(d *describer) {
	k.inputs(d)
	d.feeds("out", k.B*k.Heads*k.HeadDim)
	d.allHalves()
	d.FLOPs = k.attention().flops(2)
}

// inputs checks the sizes, adds the inputs of both passes and returns how many elements qkv has.
func (k AttentionAt) inputs(d *describer) (qkv int) {
	d.sizes(k.B, 3*k.T, k.Heads, k.HeadDim)
	d.require(k.Rows >= 0, "%d rows", k.Rows)
	rows := k.B * k.T
	if k.Rows > 0 {
		rows = k.Rows
	}
	qkv = 3 * rows * k.Heads * k.HeadDim
	d.in("qkv", qkv)
	d.starts(k.B, k.Rows, k.T)
	d.indices("rows", k.B, k.T)
	return qkv
}

// attention returns the attention of one query.
func (k AttentionAt) attention() Attention {
	return Attention{B: k.B, Tq: 1, Tk: k.T, Heads: k.Heads, HeadDim: k.HeadDim, Causal: k.Causal, Rows: k.Rows}
}

// Items returns the sequences; 0 where starts says which rows they have.
func (k AttentionAt) Items() int {
	if k.Rows > 0 {
		return 0
	}
	return k.B
}

// WithItems implements Itemized; rows count from the first sequence.
func (k AttentionAt) WithItems(n int) Kernel {
	k.B = n
	return k
}

// AttentionAtBack computes the gradient of AttentionAt, and the probabilities again; other queries get 0.
// Args: qkv, rows, dout [B, W] → dqkv [B, T, 3, W].
type AttentionAtBack struct {
	B, T, Heads, HeadDim int
	Causal               bool
	Rows                 int
}

func (k AttentionAtBack) describe(d *describer) {
	forward := AttentionAt(k)
	qkv := forward.inputs(d)
	d.in("dout", k.B*k.Heads*k.HeadDim)
	d.out("dqkv", qkv)
	d.allHalves()
	d.FLOPs = forward.attention().flops(5)
}

// starts adds the argument of sequences of different lengths.
func (d *describer) starts(batch, rows, longest int) {
	if rows > 0 {
		d.indices("starts", batch+1, longest)
	}
}
