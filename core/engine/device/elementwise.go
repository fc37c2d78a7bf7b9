package device

// Activation names an elementwise function.
type Activation uint8

// The activations.
const (
	Identity  Activation = iota
	ReLU                 // max(x, 0)
	GELU                 // x·Φ(x), the exact one with erf
	QuickGELU            // x·σ(1.702x)
	TanhGELU             // ½x·(1 + tanh(√(2/π)·(x + 0.044715x³))) (Hendrycks & Gimpel 2016)
)

func (d *describer) activation(a Activation) {
	d.require(a <= TanhGELU, "unknown activation %d", a)
}

// Act computes out = act(x). Args: x [N] → out [N]. In place allowed.
type Act struct {
	N   int
	Act Activation
}

func (k Act) describe(d *describer) {
	d.activation(k.Act)
	d.InPlace, _ = d.unary(k.N)
	d.allHalves()
}

// Items returns the elements.
func (k Act) Items() int { return k.N }

// WithItems implements Itemized.
func (k Act) WithItems(n int) Kernel {
	k.N = n
	return k
}

// ActBack computes dx = dy·act'(x). Args: x [N], dy [N] → dx [N]. dx may be dy.
type ActBack struct {
	N   int
	Act Activation
}

func (k ActBack) describe(d *describer) {
	d.activation(k.Act)
	_, d.InPlace, _ = d.gradient(k.N)
	d.allHalves()
}

// The operators of Binary.
const (
	OpAdd = '+'
	OpSub = '-'
	OpMul = '*'
)

// Binary computes out = a op b, elementwise. b has Period elements and repeats (Period divides N; Period
// 1 is a scalar, a [T, W] embedding added to [B, T, W] has Period T·W). Args: a [N], b [Period] →
// out [N]. out may be a.
type Binary struct {
	N, Period int
	Op        byte
}

func (k Binary) describe(d *describer) {
	if d.sizes(k.N, k.Period) {
		d.require(k.N%k.Period == 0, "period %d does not divide %d", k.Period, k.N)
	}
	d.require(k.Op == OpAdd || k.Op == OpSub || k.Op == OpMul, "unknown operator %q", k.Op)
	d.InPlace = d.in("a", k.N)
	d.in("b", k.Period)
	d.out("out", k.N)
	d.allHalves()
}

// Items returns the elements where b has one for each, else the repetitions of b.
func (k Binary) Items() int {
	if k.Period == k.N {
		return k.N
	}
	return k.N / k.Period
}

// WithItems implements Itemized.
func (k Binary) WithItems(n int) Kernel {
	if k.Period == k.N {
		k.N, k.Period = n, n
	} else {
		k.N = n * k.Period
	}
	return k
}

// Scale computes out = alpha·x + beta. Args: x [N] → out [N]. Scalars: alpha, beta. In place allowed.
type Scale struct{ N int }

func (k Scale) describe(d *describer) {
	d.InPlace, _ = d.unary(k.N)
	d.allHalves()
}

// Items returns the elements.
func (k Scale) Items() int { return k.N }

// WithItems implements Itemized.
func (k Scale) WithItems(n int) Kernel { return Scale{N: n} }

// ScaleBy computes out = exp(s)·x when Exp, s·x otherwise, for a scalar s on the device (a logit scale).
// Args: x [N], s [1] → out [N].
type ScaleBy struct {
	N   int
	Exp bool
}

func (k ScaleBy) describe(d *describer) {
	d.sizes(k.N)
	d.in("x", k.N)
	d.in("s", 1)
	d.out("out", k.N)
}

// Items returns the elements.
func (k ScaleBy) Items() int { return k.N }

// WithItems implements Itemized.
func (k ScaleBy) WithItems(n int) Kernel {
	k.N = n
	return k
}

// ScaleByBack computes both gradients of ScaleBy: dx = f(s)·dy and ds = f'(s)·Σ dy·x.
// Args: x [N], s [1], dy [N] → dx [N], ds [1].
type ScaleByBack struct {
	N   int
	Exp bool
}

func (k ScaleByBack) describe(d *describer) {
	d.sizes(k.N)
	d.in("x", k.N)
	d.in("s", 1)
	d.in("dy", k.N)
	d.out("dx", k.N)
	d.out("ds", 1)
}

// Accumulate computes acc += alpha·x. Args: x [N] → acc [N] (+=). Scalars: alpha (default 1).
type Accumulate struct{ N int }

func (k Accumulate) describe(d *describer) {
	d.sizes(k.N)
	d.in("x", k.N)
	d.out("acc", k.N)
}

// Softplus computes out = log(1 + exp(x)), for sigmoid losses. Args: x [N] → out [N].
type Softplus struct{ N int }

func (k Softplus) describe(d *describer) { d.unary(k.N) }

// Items returns the elements.
func (k Softplus) Items() int { return k.N }

// WithItems implements Itemized.
func (k Softplus) WithItems(n int) Kernel { return Softplus{N: n} }

// SoftplusBack computes dx = dy·σ(x). Args: x, dy → dx.
type SoftplusBack struct{ N int }

func (k SoftplusBack) describe(d *describer) { d.gradient(k.N) }
