package device

import (
	"fmt"
	"math"
	"strings"

	"tandem/core/fault"
)

// Arg is one argument of a kernel's Exec.
type Arg struct {
	Name   string // as in the kernel's documentation
	DType  DType
	Len    int
	Out    bool // written; also read where the documentation says "+=" or "in place"
	Absent bool // this kernel takes nil here
}

// String is the dtype's name.
func (d DType) String() string {
	switch d {
	case Real:
		return "real"
	case U8:
		return "u8"
	case I32:
		return "i32"
	case Half:
		return "half"
	}
	return "unknown"
}

// Size is the bytes of one element when Real is float32.
func (d DType) Size() int {
	switch d {
	case U8:
		return 1
	case Half:
		return 2
	}
	return 4
}

// Signature checks a kernel and lists its arguments in order. An impossible kernel (a size under
// one, a period that does not divide, a window larger than its input) is fault.Invalid.
func Signature(k Kernel) ([]Arg, error) {
	s := &signature{kernel: k}
	if h, ok := k.(Halved); ok {
		s.halved(h)
	} else {
		s.describe(k)
	}
	if s.err != nil {
		return nil, s.err
	}
	return s.args, nil
}

type signature struct {
	kernel Kernel
	args   []Arg
	err    error
}

func (s *signature) fail(format string, values ...any) {
	if s.err == nil {
		err := fault.New(fault.Invalid, format, values...)
		err.Op = "kernel"
		s.err = err
	}
}

// positive demands sizes of at least one, whose product fits the indices that backends use.
func (s *signature) positive(sizes ...int) bool {
	product := 1
	for _, n := range sizes {
		if n < 1 {
			s.fail("%s: every size must be at least 1", kernelText(s.kernel))
			return false
		}
		if product > math.MaxInt/8/n {
			s.fail("%s: too large", kernelText(s.kernel))
			return false
		}
		product *= n
	}
	return true
}

func (s *signature) require(ok bool, format string, values ...any) {
	if !ok {
		s.fail("%s: "+format, append([]any{kernelText(s.kernel)}, values...)...)
	}
}

func (s *signature) in(name string, n int) { s.args = append(s.args, Arg{Name: name, Len: n}) }
func (s *signature) ids(name string, n int) {
	s.args = append(s.args, Arg{Name: name, Len: n, DType: I32})
}
func (s *signature) out(name string, n int) {
	s.args = append(s.args, Arg{Name: name, Len: n, Out: true})
}
func (s *signature) optional(name string, n int, dtype DType, present bool) {
	s.args = append(s.args, Arg{Name: name, Len: n, DType: dtype, Absent: !present})
}

func (s *signature) describe(kernel Kernel) {
	switch k := kernel.(type) {
	case MatMul:
		s.positive(k.Batch, k.M, k.N, k.K)
		s.require(k.Act <= QuickGELU, "unknown activation %d", k.Act)
		s.require(!(k.Residual && k.Gate), "a residual and a gate")
		s.in("a", k.Batch*k.M*k.K)
		s.in("b", k.Batch*k.K*k.N)
		s.optional("bias", k.N, Real, k.Bias)
		s.optional("residual", k.Batch*k.M*k.N, Real, k.Residual || k.Gate)
		s.out("c", k.Batch*k.M*k.N)
		if k.Slope {
			s.out("slope", k.Batch*k.M*k.N)
		}
	case SumRows:
		s.positive(k.Rows, k.Cols)
		s.in("x", k.Rows*k.Cols)
		s.out("out", k.Cols)
	case SumCols:
		s.positive(k.Rows, k.Cols)
		s.in("x", k.Rows*k.Cols)
		s.out("out", k.Rows)
	case BroadcastRows:
		s.positive(k.Rows, k.Cols)
		s.in("x", k.Cols)
		s.out("out", k.Rows*k.Cols)
	case Act:
		s.require(k.Act <= QuickGELU, "unknown activation %d", k.Act)
		s.map1(k.N)
	case ActBack:
		s.require(k.Act <= QuickGELU, "unknown activation %d", k.Act)
		s.map2(k.N)
	case Binary:
		if s.positive(k.N, k.Period) {
			s.require(k.N%k.Period == 0, "period %d does not divide %d", k.Period, k.N)
		}
		s.require(k.Op == OpAdd || k.Op == OpSub || k.Op == OpMul, "unknown operator %q", k.Op)
		s.in("a", k.N)
		s.in("b", k.Period)
		s.out("out", k.N)
	case Scale:
		s.map1(k.N)
	case ScaleBy:
		s.positive(k.N)
		s.in("x", k.N)
		s.in("s", 1)
		s.out("out", k.N)
	case ScaleByBack:
		s.positive(k.N)
		s.in("x", k.N)
		s.in("s", 1)
		s.in("dy", k.N)
		s.out("dx", k.N)
		s.out("ds", 1)
	case Accumulate:
		s.positive(k.N)
		s.in("x", k.N)
		s.out("acc", k.N)
	case SumSquares:
		s.positive(k.N)
		s.in("x", k.N)
		s.out("out", 1)
	case Normalize:
		s.positive(k.N)
		for _, std := range k.Std {
			s.require(std > 0, "std %v must be positive", k.Std)
		}
		s.args = append(s.args, Arg{Name: "x", DType: U8, Len: 3 * k.N})
		s.out("y", 3*k.N)
	case Softplus:
		s.map1(k.N)
	case SoftplusBack:
		s.map2(k.N)
	case AdamW:
		s.positive(k.N)
		s.in("g", k.N)
		s.out("p", k.N)
		s.out("m", k.N)
		s.out("v", k.N)
	case SGD:
		s.positive(k.N)
		s.in("g", k.N)
		s.out("p", k.N)
		s.out("v", k.N)
	case Lion:
		s.positive(k.N)
		s.in("g", k.N)
		s.out("p", k.N)
		s.out("m", k.N)
	default:
		s.describeRows(kernel)
	}
}

func (s *signature) map1(n int) {
	s.positive(n)
	s.in("x", n)
	s.out("out", n)
}

func (s *signature) map2(n int) {
	s.positive(n)
	s.in("x", n)
	s.in("dy", n)
	s.out("dx", n)
}

// describeRows covers kernels over rows: norms, attention, tokens, losses.
func (s *signature) describeRows(kernel Kernel) {
	switch k := kernel.(type) {
	case LayerNorm:
		s.positive(k.Rows, k.Cols)
		s.in("x", k.Rows*k.Cols)
		s.in("gamma", k.Cols)
		s.in("beta", k.Cols)
		s.out("y", k.Rows*k.Cols)
	case LayerNormBack:
		s.positive(k.Rows, k.Cols)
		s.in("x", k.Rows*k.Cols)
		s.in("gamma", k.Cols)
		s.in("dy", k.Rows*k.Cols)
		s.out("dx", k.Rows*k.Cols)
		s.out("dgamma", k.Cols)
		s.out("dbeta", k.Cols)
	case L2Norm:
		s.positive(k.Rows, k.Cols)
		s.map1(k.Rows * k.Cols)
	case L2NormBack:
		s.positive(k.Rows, k.Cols)
		s.map2(k.Rows * k.Cols)
	case Attention:
		s.attention(k, false)
	case AttentionBack:
		s.attention(Attention(k), true)
	case AttentionAt:
		s.attentionAt(k, false)
	case AttentionAtBack:
		s.attentionAt(AttentionAt(k), true)
	case Gather:
		s.positive(k.Rows, k.Cols, k.N)
		s.in("table", k.Rows*k.Cols)
		s.ids("ids", k.N)
		s.out("out", k.N*k.Cols)
	case GatherBack:
		s.positive(k.Rows, k.Cols, k.N)
		s.ids("ids", k.N)
		s.in("dy", k.N*k.Cols)
		s.out("dtable", k.Rows*k.Cols)
	case Concat:
		s.positive(k.B, k.TA+k.TC, k.W)
		s.require(k.TA > 0 && k.TC > 0, "both parts need a position")
		if k.BroadcastA {
			s.in("a", k.TA*k.W)
		} else {
			s.in("a", k.B*k.TA*k.W)
		}
		s.in("c", k.B*k.TC*k.W)
		s.out("out", k.B*(k.TA+k.TC)*k.W)
	case Slice:
		s.slice(k)
		s.in("x", k.B*k.T*k.W)
		s.out("out", k.B*k.N*k.W)
	case SliceBack:
		s.slice(Slice(k))
		s.in("dy", k.B*k.N*k.W)
		s.out("dx", k.B*k.T*k.W)
	case MeanTokens:
		s.positive(k.B, k.T, k.W)
		s.in("x", k.B*k.T*k.W)
		s.optional("lengths", k.B, I32, k.Lengths)
		s.out("out", k.B*k.W)
	case MeanTokensBack:
		s.positive(k.B, k.T, k.W)
		s.in("dy", k.B*k.W)
		s.optional("lengths", k.B, I32, k.Lengths)
		s.out("dx", k.B*k.T*k.W)
	case Transpose:
		s.positive(k.B, k.M, k.N)
		s.map1(k.B * k.M * k.N)
	case CrossEntropy:
		s.positive(k.Rows, k.Cols)
		s.require(k.Smooth >= 0 && k.Smooth <= 1, "smooth %v is outside [0, 1]", k.Smooth)
		s.in("x", k.Rows*k.Cols)
		s.ids("targets", k.Rows)
		s.out("out", k.Rows)
	case CrossEntropyBack:
		s.positive(k.Rows, k.Cols)
		s.require(k.Smooth >= 0 && k.Smooth <= 1, "smooth %v is outside [0, 1]", k.Smooth)
		s.in("x", k.Rows*k.Cols)
		s.ids("targets", k.Rows)
		s.in("dout", k.Rows)
		s.out("dx", k.Rows*k.Cols)
	default:
		s.describeMaps(kernel)
	}
}

func (s *signature) slice(k Slice) {
	s.positive(k.B, k.T, k.W, k.N)
	s.require(k.From >= 0 && k.From+k.N <= k.T, "positions %d to %d are outside %d", k.From, k.From+k.N, k.T)
}

// kernelText is a kernel as Go would write it, without the package: "MatMul{Batch:1 M:2 …}".
func kernelText(k Kernel) string {
	text := fmt.Sprintf("%T%+v", k, k)
	return strings.TrimPrefix(text, "device.")
}
