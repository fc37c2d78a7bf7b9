//go:build onednn

package onednn

// #include "td.h"
import "C"

import (
	"fmt"
	"unsafe"

	"tandem/core/engine/device"
	"tandem/core/fault"
)

// exec holds a prepared kernel. e lies in C's memory; each run writes the addresses of the arguments there.
type exec struct {
	b      *Backend
	e      *C.td_exec
	kernel device.Kernel
	want   []device.Arg
}

// Run computes. It checks lengths and dtypes, which costs some nanoseconds, and panics when they are
// wrong: C would write out of bounds.
func (x *exec) Run(args []device.Buffer, scalars ...float64) {
	if len(args) != len(x.want) {
		panic(fmt.Sprintf("device/onednn: %T takes %d arguments, got %d", x.kernel, len(x.want), len(args)))
	}
	e := x.e
	for i := range x.want {
		want := &x.want[i]
		if want.Absent {
			continue // the address stays 0
		}
		buf, ok := args[i].(*buffer)
		if !ok || buf.n != want.Len || buf.dtype != want.DType {
			panic(x.mismatch(i, args[i]))
		}
		e.arg[i] = C.uintptr_t(uintptr(buf.at))
	}
	e.s[0], e.s[1] = 1, 0 // what kernels document for numbers left out
	for i, s := range scalars {
		e.s[i] = C.double(s)
	}
	C.td_run(e)
	if x.b.be.half[0].from|x.b.be.half[1].from != 0 {
		for i := range x.want {
			if x.want[i].Out && !x.want[i].Absent {
				x.b.forgetRounded(args[i].(*buffer))
			}
		}
	}
}

func (x *exec) mismatch(i int, arg device.Buffer) string {
	want := x.want[i]
	if arg == nil {
		return fmt.Sprintf("device/onednn: %T: argument %d (%s) is nil", x.kernel, i, want.Name)
	}
	return fmt.Sprintf("device/onednn: %T: argument %d (%s) is a %T of %v[%d], want %v[%d]",
		x.kernel, i, want.Name, arg, arg.DType(), arg.Len(), want.DType, want.Len)
}

// Release frees the primitives and scratch.
func (x *exec) Release() {
	if x.e != nil {
		delete(x.b.execs, x)
		C.td_release(x.e)
		x.e = nil
	}
}

// A preference says whose matrix products a backend computes where both could, for comparing the two.
type preference int

// measured takes whichever was faster when they were measured.
const (
	measured preference = C.TD_MEASURED
	own      preference = C.TD_OWN
	oneDNN   preference = C.TD_ONEDNN
)

// prefer sets whose products the kernels are that b prepares from now on. oneDNN's may add up in another order for
// other batches: training leaves it at measured.
func (b *Backend) prefer(p preference) { b.be.prefer = C.int(p) }

// Implementation names the oneDNN implementation behind an Exec, or the instruction set of
// the C kernels; for benchmarks and bug reports.
func Implementation(x device.Exec) string { return C.GoString(C.td_impl(x.(*exec).e)) }

// code describes a kernel in C's terms.
type code struct {
	op  C.int
	n   []int
	f   []float64
	tmp int // floats of scratch
}

// Prepare makes an Exec. Impossible kernels are fault.Invalid, those that oneDNN lacks fault.Unavailable.
func (b *Backend) Prepare(k device.Kernel) (device.Exec, error) {
	want, err := device.Signature(k)
	if err != nil {
		return nil, err
	}
	var n [C.TD_INTS]C.long
	var f [C.TD_FLOATS]C.double
	var e *C.td_exec
	text := (*C.char)(C.td_alloc(256))
	defer C.td_free(unsafe.Pointer(text), 256)
	if h, ok := k.(device.Halved); ok {
		if h.In&^b.Halves(h.Kernel) != 0 {
			return nil, fault.New(fault.Unavailable, "onednn: no kernel %T with half arguments %b", h.Kernel, h.In)
		}
		n[C.TD_HALF] = C.long(h.In)
	}
	switch k := device.WithoutHalf(k).(type) {
	case device.MatMul:
		if k.RowSums && !b.Fuses(k) {
			return nil, fault.New(fault.Unavailable, "onednn: no product with row sums")
		}
		fillProduct(n[:], k)
		e = C.td_new_matmul(b.be, &n[0], text, 256)
	case device.ConvForward:
		e = b.conv(0, k.Conv2D, n[:], text)
	case device.ConvBackData:
		if k.Residual {
			return nil, fault.New(fault.Unavailable, "onednn: no convolution with a residual")
		}
		e = b.conv(1, k.Conv2D, n[:], text)
	case device.ConvBackWeights:
		e = b.conv(2, k.Conv2D, n[:], text)
	default:
		c, ok := b.code(k)
		if !ok {
			return nil, fault.New(fault.Unavailable, "onednn: no kernel %T", k)
		}
		fill(n[:], c.n...)
		for i, v := range c.f {
			f[i] = C.double(v)
		}
		e = C.td_new(b.be, c.op, &n[0], &f[0], C.size_t(c.tmp))
	}
	if e == nil {
		if message := C.GoString(text); message != "" {
			return nil, fault.New(fault.Unavailable, "%s", message).WithHint("use device: host")
		}
		return nil, fault.New(fault.Exhausted, "onednn: no memory for %T", k)
	}
	x := &exec{b: b, e: e, kernel: k, want: want}
	b.execs[x] = struct{}{}
	return x, nil
}

func (b *Backend) conv(kind C.int, c device.Conv2D, n []C.long, text *C.char) *C.td_exec {
	fill(n, c.B, c.H, c.W, c.InC, c.OutC, c.KH, c.KW, c.Stride, c.Pad, bit(c.BF16))
	return C.td_new_conv(b.be, kind, &n[0], text, 256)
}

func fill(n []C.long, values ...int) {
	for i, v := range values {
		n[i] = C.long(v)
	}
}

func fillProduct(n []C.long, k device.MatMul) {
	fill(n, k.Batch, k.M, k.N, k.K, bit(k.TransA), bit(k.TransB), bit(k.Bias), combine(k), int(k.Act),
		bit(k.Slope), bit(k.Weights), bit(k.BF16), bit(k.RowSums))
}

// combine says what a product does with its last operand: 0 nothing, 1 adds it, 2 multiplies by it.
func combine(k device.MatMul) int {
	if k.Gate {
		return 2
	}
	return bit(k.Residual)
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// parts returns the scratch of sums over rows, in floats: for each thread, doubles for each sum and column, and
// floats besides.
func (b *Backend) parts(cols, sums, floats int) int { return b.threads * (2*sums*cols + floats*cols) }

// blocks returns the scratch of sums over n elements, in floats: one double for each 4096.
func blocks(n int) int { return 2 * ((n + 4095) / 4096) }

func (b *Backend) code(kernel device.Kernel) (code, bool) {
	switch k := kernel.(type) {
	case device.SumRows:
		return code{op: C.td_sum_rows, n: []int{k.Rows, k.Cols}, tmp: b.parts(k.Cols, 1, 0)}, true
	case device.SumCols:
		return code{op: C.td_sum_cols, n: []int{k.Rows, k.Cols}}, true
	case device.BroadcastRows:
		return code{op: C.td_broadcast_rows, n: []int{k.Rows, k.Cols}}, true
	case device.Act:
		return code{op: C.td_act, n: []int{k.N, int(k.Act)}}, true
	case device.ActBack:
		return code{op: C.td_act_back, n: []int{k.N, int(k.Act)}}, true
	case device.Binary:
		return code{op: C.td_binary, n: []int{k.N, k.Period, int(k.Op)}}, true
	case device.Scale:
		return code{op: C.td_scale, n: []int{k.N}}, true
	case device.ScaleBy:
		return code{op: C.td_scale_by, n: []int{k.N, bit(k.Exp)}}, true
	case device.ScaleByBack:
		return code{op: C.td_scale_by_back, n: []int{k.N, bit(k.Exp), 2}, tmp: blocks(k.N)}, true
	case device.Accumulate:
		return code{op: C.td_accumulate, n: []int{k.N}}, true
	case device.SumSquares:
		return code{op: C.td_sum_squares, n: []int{k.N, 0, 0}, tmp: blocks(k.N)}, true
	case device.LayerNorm:
		return code{op: C.td_layer_norm, n: []int{k.Rows, k.Cols}, f: []float64{k.Eps}}, true
	case device.LayerNormBack:
		return code{op: C.td_layer_norm_back, n: []int{k.Rows, k.Cols, bit(k.Residual)}, f: []float64{k.Eps}, tmp: b.parts(k.Cols, 2, 2)}, true
	case device.L2Norm:
		return code{op: C.td_l2_norm, n: []int{k.Rows, k.Cols}, f: []float64{k.Eps}}, true
	case device.L2NormBack:
		return code{op: C.td_l2_norm_back, n: []int{k.Rows, k.Cols}, f: []float64{k.Eps}}, true
	case device.Attention:
		return b.attention(C.td_attention, k, k.HeadDim*pad(k.Tk)+k.Tq*pad(k.Tk)+(k.Tk+k.Tq)*pad(k.HeadDim)), true
	case device.AttentionBack:
		return b.attention(C.td_attention_back, device.Attention(k),
			2*(k.HeadDim+k.Tq)*pad(k.Tk)+(2*k.Tq+k.Tk+max(k.Tq, k.Tk))*pad(k.HeadDim)), true
	case device.AttentionAt:
		return b.attentionAt(C.td_attention_at, k), true
	case device.AttentionAtBack:
		return b.attentionAt(C.td_attention_at_back, device.AttentionAt(k)), true
	case device.Normalize:
		f := append(append([]float64{}, k.Mean[:]...), k.Std[:]...)
		return code{op: C.td_normalize, n: []int{k.N}, f: f}, true
	case device.Patchify:
		return code{op: C.td_patchify, n: []int{k.B * k.H / k.P, k.C, k.P, k.W}}, true
	case device.Gather:
		return code{op: C.td_gather, n: []int{k.N, k.Cols}}, true
	case device.GatherBack:
		return code{op: C.td_gather_back, n: []int{k.N, k.Cols, k.Rows}}, true
	case device.Concat:
		return code{op: C.td_concat, n: []int{k.B, k.TA * k.W, k.TC * k.W, bit(k.BroadcastA)}}, true
	case device.Slice:
		return code{op: C.td_slice, n: []int{k.B, k.T * k.W, k.From * k.W, k.N * k.W}}, true
	case device.SliceBack:
		return code{op: C.td_slice_back, n: []int{k.B, k.T * k.W, k.From * k.W, k.N * k.W}}, true
	case device.MeanTokens:
		return code{op: C.td_mean_tokens, n: []int{k.B, k.T * k.W, k.T, k.W}}, true
	case device.MeanTokensBack:
		return code{op: C.td_mean_tokens_back, n: []int{k.B, k.T * k.W, k.T, k.W}}, true
	case device.Transpose:
		return code{op: C.td_transpose, n: []int{k.B * ((k.N + 15) / 16), 16 * k.M, k.B, k.M, k.N}}, true
	case device.CrossEntropy:
		return code{op: C.td_cross_entropy, n: []int{k.Rows, k.Cols}, f: []float64{k.Smooth}}, true
	case device.CrossEntropyBack:
		return code{op: C.td_cross_entropy_back, n: []int{k.Rows, k.Cols}, f: []float64{k.Smooth}}, true
	case device.Softplus:
		return code{op: C.td_softplus, n: []int{k.N}}, true
	case device.SoftplusBack:
		return code{op: C.td_softplus_back, n: []int{k.N}}, true
	case device.AdamW:
		return code{op: C.td_adamw, n: []int{k.N}, f: []float64{k.Beta1, k.Beta2, k.Eps}}, true
	case device.SGD:
		return code{op: C.td_sgd, n: []int{k.N}, f: []float64{k.Momentum}}, true
	case device.Lion:
		return code{op: C.td_lion, n: []int{k.N}, f: []float64{k.Beta1, k.Beta2}}, true
	case device.Average:
		return code{op: C.td_average, n: []int{k.N}}, true
	}
	return b.mapCode(kernel)
}

func (b *Backend) mapCode(kernel device.Kernel) (code, bool) {
	switch k := kernel.(type) {
	case device.AvgPool:
		return pool(C.td_avg_pool, k.Pool2D), true
	case device.AvgPoolBack:
		return pool(C.td_avg_pool_back, k.Pool2D), true
	case device.MaxPool:
		return pool(C.td_max_pool, k.Pool2D), true
	case device.MaxPoolBack:
		return pool(C.td_max_pool_back, k.Pool2D), true
	case device.BatchStats:
		return code{op: C.td_batch_stats, n: []int{k.Rows, k.C}, tmp: b.parts(k.C, 2, 0)}, true
	case device.BatchNorm:
		return code{op: C.td_batch_norm, n: []int{k.Rows, k.C, bit(k.Act == device.ReLU)}, f: []float64{k.Eps}, tmp: k.C}, true
	case device.BatchNormBack:
		sums := b.parts(k.C, 2, 0)
		return code{op: C.td_batch_norm_back, n: []int{k.Rows, k.C, bit(k.Act == device.ReLU), bit(k.Training), sums},
			f: []float64{k.Eps}, tmp: sums + 3*k.C}, true
	case device.RunningStats:
		return code{op: C.td_running_stats, n: []int{k.Rows, k.C}, f: []float64{k.Momentum}}, true
	}
	return code{}, false
}

func pool(op C.int, p device.Pool2D) code {
	oh, ow := p.OutSize()
	return code{op: op, n: []int{p.B * oh, p.B, p.H, p.W, p.C, p.Size, p.Stride, p.Pad, oh, ow}}
}

// pad rounds up to the widest vector, in floats.
func pad(n int) int { return (n + 15) &^ 15 }

func (b *Backend) attention(op C.int, k device.Attention, scratch int) code {
	scratch = pad(scratch) + 16 // parts begin on cache lines of their own
	return code{op: op, n: []int{k.B, k.Tq, k.Tk, k.Heads, k.HeadDim, bit(k.Causal), bit(k.Packed), scratch, k.Rows},
		tmp: b.threads * scratch}
}

func (b *Backend) attentionAt(op C.int, k device.AttentionAt) code {
	return code{op: op, n: []int{k.B, k.T, k.Heads, k.HeadDim, bit(k.Causal), pad(k.T), k.Rows}, tmp: b.threads * pad(k.T)}
}
