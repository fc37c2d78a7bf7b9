package device

// Kernel describes one operation. Each implementation documents the arguments of its Exec as
// "inputs → outputs"; outputs are overwritten unless "+=" is said.
type Kernel interface{ kernel() }

// Activation is an elementwise function.
type Activation uint8

// The activations.
const (
	Identity  Activation = iota
	ReLU                 // max(x, 0)
	GELU                 // x·Φ(x), the exact one with erf
	QuickGELU            // x·σ(1.702x)
)

// MatMul is C = act(op(A)·op(B) + bias) + residual for Batch independent pairs of matrices.
//
// Args: A [Batch, M, K] ([Batch, K, M] when TransA), B [Batch, K, N] ([Batch, N, K] when TransB),
// bias [N] (nil unless Bias), residual [Batch, M, N] (nil unless Residual or Gate; with Gate C is
// multiplied by it instead) → C [Batch, M, N]. With Slope, a second output follows: the derivative of act
// where it was taken, [Batch, M, N], which is all that a backward pass needs of it.
// Weights says that B is a parameter: a backend may keep a packed copy until ParamsChanged.
// BF16 rounds the elements of A and B to bfloat16 first (RoundBF16); products are added up in Real, and
// everything after the sum is in Real too.
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
}

// SumRows is out[j] = Σi x[i, j]: a bias gradient. Args: x [Rows, Cols] → out [Cols].
type SumRows struct{ Rows, Cols int }

// SumCols is out[i] = Σj x[i, j]. Args: x [Rows, Cols] → out [Rows].
type SumCols struct{ Rows, Cols int }

// BroadcastRows repeats a row: out[i, j] = scale·x[j]. Args: x [Cols] → out [Rows, Cols].
// Scalars: scale (default 1).
type BroadcastRows struct{ Rows, Cols int }

// Act is out = act(x). Args: x [N] → out [N]. In place allowed.
type Act struct {
	N   int
	Act Activation
}

// ActBack is dx = dy·act'(x). Args: x [N], dy [N] → dx [N]. dx may be dy.
type ActBack struct {
	N   int
	Act Activation
}

// Binary operators.
const (
	OpAdd = '+'
	OpSub = '-'
	OpMul = '*'
)

// Binary is out = a op b, elementwise. b has Period elements and repeats (Period divides N; Period
// 1 is a scalar, a [T, W] embedding added to [B, T, W] has Period T·W). Args: a [N], b [Period] →
// out [N]. out may be a.
type Binary struct {
	N, Period int
	Op        byte
}

// Scale is out = alpha·x + beta. Args: x [N] → out [N]. Scalars: alpha, beta. In place allowed.
type Scale struct{ N int }

// ScaleBy is out = exp(s)·x when Exp, s·x otherwise, for a scalar s on the device (a logit scale).
// Args: x [N], s [1] → out [N].
type ScaleBy struct {
	N   int
	Exp bool
}

// ScaleByBack gives both gradients of ScaleBy: dx = f(s)·dy and ds = f'(s)·Σ dy·x.
// Args: x [N], s [1], dy [N] → dx [N], ds [1].
type ScaleByBack struct {
	N   int
	Exp bool
}

// Accumulate is acc += alpha·x. Args: x [N] → acc [N] (+=). Scalars: alpha (default 1).
type Accumulate struct{ N int }

// SumSquares is out = Σ x². Args: x [N] → out [1]. Summed in double where the hardware allows.
type SumSquares struct{ N int }

// LayerNorm is y = (x − mean)/sqrt(var + Eps)·γ + β over the last axis (Ba et al. 2016).
// Args: x [Rows, Cols], γ [Cols], β [Cols] → y [Rows, Cols].
type LayerNorm struct {
	Rows, Cols int
	Eps        float64
}

// LayerNormBack recomputes the statistics. Args: x, γ, dy → dx [Rows, Cols], dγ [Cols], dβ [Cols].
type LayerNormBack struct {
	Rows, Cols int
	Eps        float64
}

// L2Norm makes rows of unit length: y = x/max(‖x‖, Eps). Args: x [Rows, Cols] → y.
type L2Norm struct {
	Rows, Cols int
	Eps        float64
}

// L2NormBack is the gradient of L2Norm. Args: x, dy → dx.
type L2NormBack struct {
	Rows, Cols int
	Eps        float64
}

// Attention is softmax(scale·q kᵀ + mask)·v per head, scale = HeadDim^-½ (Vaswani et al. 2017).
// W = Heads·HeadDim; head h owns columns [h·HeadDim, (h+1)·HeadDim). Causal masks keys after the
// query (Tq = Tk then).
// Args, Packed: qkv [B, T, 3, W] with Tq = Tk = T → out [B, T, W].
// Args, else: q [B, Tq, W], k [B, Tk, W], v [B, Tk, W] → out [B, Tq, W].
//
// Rows > 0 is of packed sequences of different lengths: qkv is [Rows, 3, W] and followed by the argument
// starts i32 [B + 1]; sequence b is rows [starts[b], starts[b+1]), at most Tq of them; the value is [Rows,
// W], and 0 from starts[B] on. Starts out of order or range panic on the host and are undefined elsewhere.
type Attention struct {
	B, Tq, Tk, Heads, HeadDim int
	Causal, Packed            bool
	Rows                      int
}

// AttentionBack recomputes the probabilities.
// Args, Packed: qkv, dout → dqkv [B, T, 3, W]. Args, else: q, k, v, dout → dq, dk, dv.
type AttentionBack struct {
	B, Tq, Tk, Heads, HeadDim int
	Causal, Packed            bool
	Rows                      int
}

// AttentionAt is Attention for one query a sequence: what a last block needs when only one token of
// each sequence is pooled. Query b stands at flat place rows[b] = b·T + t; Causal masks the keys after
// t. Places outside sequence b panic on the host and are undefined elsewhere.
// Args: qkv [B, T, 3, W], rows i32 [B] → out [B, W]. Rows > 0 is as for Attention: starts is an argument
// after qkv, and rows are rows of qkv [Rows, 3, W].
type AttentionAt struct {
	B, T, Heads, HeadDim int
	Causal               bool
	Rows                 int
}

// AttentionAtBack recomputes the probabilities; other queries get 0.
// Args: qkv, rows, dout [B, W] → dqkv [B, T, 3, W].
type AttentionAtBack struct {
	B, T, Heads, HeadDim int
	Causal               bool
	Rows                 int
}

// Normalize turns pictures into numbers: y = (x/255 − Mean[c])/Std[c].
// Args: x u8 [N, 3] → y [N, 3].
type Normalize struct {
	N         int
	Mean, Std [3]float64
}

// Patchify cuts pictures into P×P patches in the column order of a flattened convolution weight:
// out[b·gh·gw + gy·gw + gx, (c·P + py)·P + px] = x[b, gy·P+py, gx·P+px, c].
// Args: x [B, H, W, C] → out [B·(H/P)·(W/P), C·P·P].
type Patchify struct{ B, H, W, C, P int }

// Conv2D is a convolution without bias, NHWC, weights [OutC, InC, KH, KW], zero padding on all sides.
// OH = (H + 2·Pad − KH)/Stride + 1. BF16 is as for MatMul: both inputs are rounded, the result is not.
type Conv2D struct {
	B, H, W, InC, OutC, KH, KW, Stride, Pad int
	BF16                                    bool
}

// ConvForward args: x [B, H, W, InC], w → y [B, OH, OW, OutC]. ConvBackData args: w, dy → dx.
// ConvBackWeights args: x, dy → dw.
type (
	ConvForward     struct{ Conv2D }
	ConvBackData    struct{ Conv2D }
	ConvBackWeights struct{ Conv2D }
)

// OutSize is the height and width of the convolution's output.
func (c Conv2D) OutSize() (oh, ow int) {
	return (c.H+2*c.Pad-c.KH)/c.Stride + 1, (c.W+2*c.Pad-c.KW)/c.Stride + 1
}

// Pool2D is a window of Size with Stride and zero padding over [B, H, W, C].
type Pool2D struct{ B, H, W, C, Size, Stride, Pad int }

// OutSize is the height and width of the pooled map.
func (p Pool2D) OutSize() (oh, ow int) {
	return (p.H+2*p.Pad-p.Size)/p.Stride + 1, (p.W+2*p.Pad-p.Size)/p.Stride + 1
}

// AvgPool args: x → y [B, OH, OW, C] (Pad must be 0). AvgPoolBack args: dy → dx.
// MaxPool args: x → y. MaxPoolBack args: x, dy → dx; the first maximum of a window gets the gradient.
type (
	AvgPool     struct{ Pool2D }
	AvgPoolBack struct{ Pool2D }
	MaxPool     struct{ Pool2D }
	MaxPoolBack struct{ Pool2D }
)

// BatchStats gives mean and biased variance per channel. Args: x [Rows, C] → stats [2, C].
type BatchStats struct{ Rows, C int }

// BatchNorm is y = act((x − mean)/sqrt(var + Eps)·γ + β) with given statistics (Ioffe & Szegedy
// 2015). Act is Identity or ReLU. Args: x [Rows, C], stats [2, C], γ [C], β [C] → y [Rows, C].
type BatchNorm struct {
	Rows, C int
	Eps     float64
	Act     Activation
}

// BatchNormBack is the gradient of BatchNorm. With Training the statistics are x's own and the
// gradient flows through them. For Act = ReLU, y (the output) masks dy; else y is nil.
// Args: x, stats, γ, y, dy → dx [Rows, C], dγ [C], dβ [C].
type BatchNormBack struct {
	Rows, C  int
	Eps      float64
	Act      Activation
	Training bool
}

// RunningStats moves running statistics: run ← (1 − Momentum)·run + Momentum·batch, the variance of
// the batch made unbiased by Rows/(Rows−1). Args: stats [2, C] → mean [C] (+=), variance [C] (+=).
type RunningStats struct {
	Rows, C  int
	Momentum float64
}

// Gather picks rows: out[i, :] = table[ids[i], :]. Args: table [Rows, Cols], ids i32 [N] → out
// [N, Cols]. Ids out of range panic on the host and are undefined elsewhere: check them before.
type Gather struct{ Rows, Cols, N int }

// GatherBack scatters: dtable is zeroed, then dtable[ids[i], :] += dy[i, :] in the order of i.
// Args: ids i32 [N], dy [N, Cols] → dtable [Rows, Cols].
type GatherBack struct{ Rows, Cols, N int }

// Concat joins two arrays along the middle axis: out[b] = a[b] then c[b].
// Args: a [B, TA, W], c [B, TC, W] → out [B, TA+TC, W]. When BroadcastA, a is [TA, W] and repeats.
type Concat struct {
	B, TA, TC, W int
	BroadcastA   bool
}

// Slice takes middle-axis positions [From, From+N): Args: x [B, T, W] → out [B, N, W].
type Slice struct{ B, T, W, From, N int }

// SliceBack puts a gradient back among zeros. Args: dy [B, N, W] → dx [B, T, W].
type SliceBack struct{ B, T, W, From, N int }

// MeanTokens is the mean over the middle axis. With Lengths, row b averages its first lengths[b]
// positions only. Args: x [B, T, W], lengths i32 [B] (nil unless Lengths) → out [B, W].
type MeanTokens struct {
	B, T, W int
	Lengths bool
}

// MeanTokensBack args: dy [B, W], lengths (nil unless Lengths) → dx [B, T, W].
type MeanTokensBack struct {
	B, T, W int
	Lengths bool
}

// Transpose swaps the last two axes. Args: x [B, M, N] → out [B, N, M].
type Transpose struct{ B, M, N int }

// CrossEntropy is out[i] = logsumexp(x[i, :]) − Σj q[i, j]·x[i, j], where q puts 1 − Smooth on
// targets[i] and spreads Smooth evenly over all Cols. Args: x [Rows, Cols], targets i32 [Rows] →
// out [Rows], in nats.
type CrossEntropy struct {
	Rows, Cols int
	Smooth     float64
}

// CrossEntropyBack args: x, targets, dout [Rows] → dx [Rows, Cols].
type CrossEntropyBack struct {
	Rows, Cols int
	Smooth     float64
}

// Softplus is out = log(1 + exp(x)), for sigmoid losses. Args: x [N] → out [N].
type Softplus struct{ N int }

// SoftplusBack is dx = dy·σ(x). Args: x, dy → dx.
type SoftplusBack struct{ N int }

// AdamW is one step of Loshchilov & Hutter 2019 on a flat range. g is scaled by gradScale first.
// m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²; p ← p − lr·(decay·p + m̂/(√v̂ + ε)), m̂ = m/(1−β₁ᵗ).
// Args: g → p, m, v (all [N], updated in place). Scalars: lr, decay, gradScale, step (from 1).
type AdamW struct {
	N                 int
	Beta1, Beta2, Eps float64
}

// SGD is v ← Momentum·v + g + decay·p; p ← p − lr·v. Args: g → p, v. Scalars: lr, decay, gradScale.
type SGD struct {
	N        int
	Momentum float64
}

// Lion is Chen et al. 2023: u = sign(β₁m + (1−β₁)g); p ← p − lr·(u + decay·p); m ← β₂m + (1−β₂)g.
// Args: g → p, m. Scalars: lr, decay, gradScale.
type Lion struct {
	N            int
	Beta1, Beta2 float64
}

func (MatMul) kernel()           {}
func (SumRows) kernel()          {}
func (SumCols) kernel()          {}
func (BroadcastRows) kernel()    {}
func (Act) kernel()              {}
func (ActBack) kernel()          {}
func (Binary) kernel()           {}
func (Scale) kernel()            {}
func (ScaleBy) kernel()          {}
func (ScaleByBack) kernel()      {}
func (Accumulate) kernel()       {}
func (SumSquares) kernel()       {}
func (LayerNorm) kernel()        {}
func (LayerNormBack) kernel()    {}
func (L2Norm) kernel()           {}
func (L2NormBack) kernel()       {}
func (Attention) kernel()        {}
func (AttentionBack) kernel()    {}
func (AttentionAt) kernel()      {}
func (AttentionAtBack) kernel()  {}
func (Normalize) kernel()        {}
func (Patchify) kernel()         {}
func (ConvForward) kernel()      {}
func (ConvBackData) kernel()     {}
func (ConvBackWeights) kernel()  {}
func (AvgPool) kernel()          {}
func (AvgPoolBack) kernel()      {}
func (MaxPool) kernel()          {}
func (MaxPoolBack) kernel()      {}
func (BatchStats) kernel()       {}
func (BatchNorm) kernel()        {}
func (BatchNormBack) kernel()    {}
func (RunningStats) kernel()     {}
func (Gather) kernel()           {}
func (GatherBack) kernel()       {}
func (Concat) kernel()           {}
func (Slice) kernel()            {}
func (SliceBack) kernel()        {}
func (MeanTokens) kernel()       {}
func (MeanTokensBack) kernel()   {}
func (Transpose) kernel()        {}
func (CrossEntropy) kernel()     {}
func (CrossEntropyBack) kernel() {}
func (Softplus) kernel()         {}
func (SoftplusBack) kernel()     {}
func (AdamW) kernel()            {}
func (SGD) kernel()              {}
func (Lion) kernel()             {}
