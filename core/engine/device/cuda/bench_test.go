//go:build clipcuda

package cuda

import (
	"os"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/devicetest"
)

// BenchmarkKernels gives the rate of memory that each kernel of a step of ViT-B/32 reaches at batch 1024, counting
// what it cannot avoid to move: every argument once, those changed in place twice. The GPU's own rate is what `copy`
// reaches. On the test double the batch is 1, and the figures say nothing.
func BenchmarkKernels(b *testing.B) {
	n := 1024
	if os.Getenv("TANDEM_CUDA_DOUBLE") != "" {
		n = 1
	}
	const width, wide, patches, context, vocabulary = 768, 3072, 50, 77, 49408
	rows := n * patches
	be := open(b, Options{})
	for _, c := range []struct {
		name    string
		k       device.Kernel
		scalars []float64
	}{
		{"copy", device.Scale{N: rows * wide}, []float64{1, 0}},
		{"gelu", device.Act{N: rows * wide, Act: device.GELU}, nil},
		{"gelu back", device.ActBack{N: rows * wide, Act: device.GELU}, nil},
		{"add", device.Binary{N: rows * width, Period: rows * width, Op: device.OpAdd}, nil},
		{"positions", device.Binary{N: rows * width, Period: patches * width, Op: device.OpAdd}, nil},
		{"normalize", device.Normalize{N: n * 224 * 224, Std: [3]float64{1, 1, 1}}, nil},
		{"patchify", device.Patchify{B: n, H: 224, W: 224, C: 3, P: 32}, nil},
		{"layer norm", device.LayerNorm{Rows: rows, Cols: width, Eps: 1e-5}, nil},
		{"layer norm back", device.LayerNormBack{Rows: rows, Cols: width, Eps: 1e-5}, nil},
		{"bias gradient", device.SumRows{Rows: rows, Cols: wide}, nil},
		{"positions' gradient", device.SumRows{Rows: n, Cols: patches * width}, nil},
		{"attention", device.Attention{B: n, Tq: patches, Tk: patches, Heads: 12, HeadDim: 64, Packed: true}, nil},
		{"attention back", device.AttentionBack{B: n, Tq: patches, Tk: patches, Heads: 12, HeadDim: 64, Packed: true}, nil},
		{"class token", device.Concat{B: n, TA: 1, TC: patches - 1, W: width, BroadcastA: true}, nil},
		{"tokens", device.Gather{Rows: vocabulary, Cols: 512, N: n * context}, nil},
		{"tokens' gradient", device.GatherBack{Rows: vocabulary, Cols: 512, N: n * context}, nil},
		{"mean of tokens", device.MeanTokens{B: n, T: patches, W: width}, nil},
		{"transpose", device.Transpose{B: n, M: patches, N: width}, nil},
		{"unit length", device.L2Norm{Rows: 16 * n, Cols: 512, Eps: 1e-12}, nil},
		{"cross entropy", device.CrossEntropy{Rows: n, Cols: 32 * n}, nil},
		{"cross entropy back", device.CrossEntropyBack{Rows: n, Cols: 32 * n}, nil},
		{"gradient's norm", device.SumSquares{N: 1 + n*150_000}, nil},
		{"AdamW", device.AdamW{N: 1 + n*150_000, Beta1: .9, Beta2: .98, Eps: 1e-6}, []float64{1e-3, .2, 1, 1}},
	} {
		b.Run(c.name, func(b *testing.B) { measure(b, be, c.k, c.scalars) })
	}
}

// together counts the runs that are enqueued before the GPU is waited for.
const together = 20

func measure(b *testing.B, be *Backend, k device.Kernel, scalars []float64) {
	exec, want := prepared(b, be, k)
	var err error
	bufs, bytes := make([]device.Buffer, len(want)), 0
	for i, v := range devicetest.Inputs(k, want) {
		if v == nil {
			continue
		}
		if bufs[i], err = be.Alloc(want[i].DType, want[i].Len); err != nil {
			b.Fatal(err)
		}
		defer be.Free(bufs[i])
		be.Write(bufs[i], v)
		bytes += want[i].DType.Size() * want[i].Len
		if _, optimiser := k.(device.AdamW); optimiser && want[i].Out {
			bytes += want[i].DType.Size() * want[i].Len
		}
	}
	some := make([]float32, 1)
	wait := func() {
		for i, arg := range want {
			if arg.Out {
				be.Read(some, be.View(bufs[i], 0, 1))
			}
		}
	}
	exec.Run(bufs, scalars...)
	wait()
	for b.Loop() {
		for range together {
			exec.Run(bufs, scalars...)
		}
		wait()
	}
	b.ReportMetric(float64(together*bytes)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GB/s")
	b.ReportMetric(b.Elapsed().Seconds()*1e6/float64(together*b.N), "µs/run")
}
