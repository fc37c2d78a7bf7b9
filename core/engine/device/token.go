package device

// Gather picks rows: out[i, :] = table[ids[i], :]. Args: table [Rows, Cols], ids i32 [N] → out
// [N, Cols]. Ids out of range panic on the host and are undefined elsewhere: check them before.
type Gather struct{ Rows, Cols, N int }

func (k Gather) describe(d *describer) {
	d.sizes(k.Rows, k.Cols, k.N)
	d.in("table", k.Rows*k.Cols)
	d.indices("ids", k.N, k.Rows)
	d.out("out", k.N*k.Cols)
	d.allHalves()
}

// GatherBack scatters: dtable is zeroed, then dtable[ids[i], :] += dy[i, :] in the order of i.
// Args: ids i32 [N], dy [N, Cols] → dtable [Rows, Cols].
type GatherBack struct{ Rows, Cols, N int }

func (k GatherBack) describe(d *describer) {
	d.sizes(k.Rows, k.Cols, k.N)
	d.indices("ids", k.N, k.Rows)
	d.in("dy", k.N*k.Cols)
	d.out("dtable", k.Rows*k.Cols)
	d.allHalves()
}

// Concat joins two arrays along the middle axis: out[b] = a[b] then c[b].
// Args: a [B, TA, W], c [B, TC, W] → out [B, TA+TC, W]. When BroadcastA, a is [TA, W] and repeats.
type Concat struct {
	B, TA, TC, W int
	BroadcastA   bool
}

func (k Concat) describe(d *describer) {
	d.sizes(k.B, k.TA+k.TC, k.W)
	d.require(k.TA > 0 && k.TC > 0, "both parts need a position")
	if k.BroadcastA {
		d.in("a", k.TA*k.W)
	} else {
		d.in("a", k.B*k.TA*k.W)
	}
	d.in("c", k.B*k.TC*k.W)
	d.out("out", k.B*(k.TA+k.TC)*k.W)
	d.allHalves()
}

// Slice takes middle-axis positions [From, From+N): Args: x [B, T, W] → out [B, N, W].
type Slice struct{ B, T, W, From, N int }

func (k Slice) describe(d *describer) {
	k.check(d)
	d.in("x", k.B*k.T*k.W)
	d.out("out", k.B*k.N*k.W)
	d.allHalves()
}

func (k Slice) check(d *describer) {
	d.sizes(k.B, k.T, k.W, k.N)
	d.require(k.From >= 0 && k.From+k.N <= k.T, "positions %d to %d are outside %d", k.From, k.From+k.N, k.T)
}

// SliceBack puts a gradient back among zeros. Args: dy [B, N, W] → dx [B, T, W].
type SliceBack struct{ B, T, W, From, N int }

func (k SliceBack) describe(d *describer) {
	Slice(k).check(d)
	d.in("dy", k.B*k.N*k.W)
	d.out("dx", k.B*k.T*k.W)
	d.allHalves()
}

// MeanTokens takes the mean over the middle axis. With Lengths, row b averages its first lengths[b]
// positions only. Args: x [B, T, W], lengths i32 [B] (nil unless Lengths) → out [B, W].
type MeanTokens struct {
	B, T, W int
	Lengths bool
}

func (k MeanTokens) describe(d *describer) {
	d.sizes(k.B, k.T, k.W)
	d.in("x", k.B*k.T*k.W)
	d.lengths(k.B, k.T, k.Lengths)
	d.out("out", k.B*k.W)
	d.allHalves()
}

// Items returns the sequences.
func (k MeanTokens) Items() int { return k.B }

// WithItems implements Itemized.
func (k MeanTokens) WithItems(n int) Kernel {
	k.B = n
	return k
}

// MeanTokensBack computes the gradient of MeanTokens. Args: dy [B, W], lengths (nil unless Lengths) → dx [B, T, W].
type MeanTokensBack struct {
	B, T, W int
	Lengths bool
}

func (k MeanTokensBack) describe(d *describer) {
	d.sizes(k.B, k.T, k.W)
	d.in("dy", k.B*k.W)
	d.lengths(k.B, k.T, k.Lengths)
	d.out("dx", k.B*k.T*k.W)
	d.allHalves()
}

// lengths adds the argument with the length of each sequence.
func (d *describer) lengths(batch, longest int, present bool) {
	d.Args[d.indices("lengths", batch, longest)].Absent = !present
}

// Transpose swaps the last two axes. Args: x [B, M, N] → out [B, N, M].
type Transpose struct{ B, M, N int }

func (k Transpose) describe(d *describer) {
	d.sizes(k.B, k.M, k.N)
	d.unary(k.B * k.M * k.N)
	d.allHalves()
}
