package reference

import (
	"fmt"

	"tandem/core/engine/device"
	"tandem/core/fault"
)

// args holds the buffers of one Run in the kernel's order; absent ones are nil.
type args[T Float] []*buffer[T]

// scalars holds the run-time numbers of one Run.
type scalars []float64

// at returns scalar i, or a default when the caller left it out.
func (s scalars) at(i int, otherwise float64) float64 {
	if i < len(s) {
		return s[i]
	}
	return otherwise
}

// need returns scalar i, without which the kernel panics.
func (s scalars) need(i int, name string) float64 {
	if i >= len(s) {
		panic(fmt.Sprintf("device/host: scalar %d (%s) is missing", i, name))
	}
	return s[i]
}

type exec[T Float] struct {
	backend *Backend[T]
	kernel  device.Kernel
	want    []device.Arg
	bound   args[T]
	run     func(a args[T], s scalars)
}

// Run checks the arguments against the kernel's signature, panicking with what is wrong, and
// computes.
func (e *exec[T]) Run(given []device.Buffer, s ...float64) {
	if len(given) != len(e.want) {
		panic(fmt.Sprintf("device/host: %T takes %d arguments, got %d", e.kernel, len(e.want), len(given)))
	}
	for i, want := range e.want {
		if want.Absent {
			e.bound[i] = nil
			continue
		}
		if given[i] == nil {
			panic(fmt.Sprintf("device/host: %T: argument %d (%s) is nil", e.kernel, i, want.Name))
		}
		buf := e.backend.asBuffer(given[i])
		if buf.dtype != want.DType || buf.Len() != want.Len {
			panic(fmt.Sprintf("device/host: %T: argument %d (%s) is %v[%d], want %v[%d]",
				e.kernel, i, want.Name, buf.dtype, buf.Len(), want.DType, want.Len))
		}
		e.bound[i] = buf
	}
	e.run(e.bound, s)
}

// Prepare makes an Exec. Errors are those of device.Signature.
func (b *Backend[T]) Prepare(k device.Kernel) (device.Exec, error) {
	want, err := device.Signature(k)
	if err != nil {
		return nil, err
	}
	x := &exec[T]{backend: b, kernel: k, want: want, bound: make(args[T], len(want))}
	if h, ok := k.(device.Halved); ok {
		if h.In&^b.Halves(h.Kernel) != 0 {
			return nil, fault.New(fault.Unavailable, "host: no kernel %T with half arguments %b", h.Kernel, h.In)
		}
		x.run = b.onHalf(h, want)
	} else {
		x.run = b.runner(k)
	}
	return x, nil
}

// runner returns the code of a kernel that device.Signature accepted.
func (b *Backend[T]) runner(kernel device.Kernel) func(args[T], scalars) {
	switch k := kernel.(type) {
	case device.MatMul:
		return b.withRowSums(k, b.roundInputs(k.BF16, b.matMul(k), 0, 1))
	case device.SumRows:
		return b.sumRows(k)
	case device.SumCols:
		return b.sumCols(k)
	case device.BroadcastRows:
		return b.broadcastRows(k)
	case device.Act:
		return b.act(k)
	case device.ActBack:
		return b.actBack(k)
	case device.Binary:
		return b.binary(k)
	case device.Scale:
		return b.scale(k)
	case device.ScaleBy:
		return b.scaleBy(k)
	case device.ScaleByBack:
		return b.scaleByBack(k)
	case device.Accumulate:
		return b.accumulate(k)
	case device.SumSquares:
		return b.sumSquares(k)
	case device.LayerNorm:
		return b.layerNorm(k)
	case device.LayerNormBack:
		return b.layerNormBack(k)
	case device.L2Norm:
		return b.l2Norm(k)
	case device.L2NormBack:
		return b.l2NormBack(k)
	case device.Attention:
		return b.roundInputs(k.BF16, b.attention(k), 0)
	case device.AttentionBack:
		return b.roundInputs(k.BF16, b.attentionBack(k), 0, attentionInputs(device.Attention(k)))
	case device.AttentionAt:
		return b.attentionAt(k)
	case device.AttentionAtBack:
		return b.attentionAtBack(k)
	case device.Normalize:
		return b.normalize(k)
	case device.Patchify:
		return b.patchify(k)
	case device.ConvForward:
		return b.roundInputs(k.BF16, b.convForward(k.Conv2D), 0, 1)
	case device.ConvBackData:
		return b.roundInputs(k.BF16, b.convBackData(k), 0, 1)
	case device.ConvBackWeights:
		return b.roundInputs(k.BF16, b.convBackWeights(k.Conv2D), 0, 1)
	case device.AvgPool:
		return b.avgPool(k.Pool2D)
	case device.AvgPoolBack:
		return b.avgPoolBack(k.Pool2D)
	case device.MaxPool:
		return b.maxPool(k.Pool2D)
	case device.MaxPoolBack:
		return b.maxPoolBack(k.Pool2D)
	case device.BatchStats:
		return b.batchStats(k)
	case device.BatchNorm:
		return b.batchNorm(k)
	case device.BatchNormBack:
		return b.batchNormBack(k)
	case device.RunningStats:
		return b.runningStats(k)
	case device.Gather:
		return b.gather(k)
	case device.GatherBack:
		return b.gatherBack(k)
	case device.Concat:
		return b.concat(k)
	case device.Slice:
		return b.slice(k)
	case device.SliceBack:
		return b.sliceBack(k)
	case device.MeanTokens:
		return b.meanTokens(k)
	case device.MeanTokensBack:
		return b.meanTokensBack(k)
	case device.Transpose:
		return b.transpose(k)
	case device.CrossEntropy:
		return b.crossEntropy(k)
	case device.CrossEntropyBack:
		return b.crossEntropyBack(k)
	case device.Softplus:
		return b.softplus(k)
	case device.SoftplusBack:
		return b.softplusBack(k)
	case device.AdamW:
		return b.adamW(k)
	case device.SGD:
		return b.sgd(k)
	case device.Lion:
		return b.lion(k)
	case device.Average:
		return b.average(k)
	}
	panic(fmt.Sprintf("device/host: no code for %T", kernel))
}
