//go:build clipcuda

package cuda

import (
	"os"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/fault"
)

// BenchmarkArithmetic gives the rate of arithmetic of products, attention and convolutions at the sizes that they
// have in ViT-B/32, its text tower and RN50 with a batch of 256, in f32, TF32 and bf16. Products count with all that
// the kernel does beside them, in bf16 without the rounding of operands, which the first run has done. On the test double the batch is 1, and the figures say nothing.
func BenchmarkArithmetic(b *testing.B) {
	n := 256
	if os.Getenv("TANDEM_CUDA_DOUBLE") != "" {
		n = 1
	}
	plain := device.MatMul{Batch: 1, M: 50 * n, N: 3072, K: 768, TransB: true}
	fc := plain
	fc.Bias, fc.Act, fc.Slope = true, device.GELU, true
	proj := device.MatMul{Batch: 1, M: 50 * n, N: 768, K: 3072, TransB: true, Bias: true, Residual: true}
	weights := device.MatMul{Batch: 1, M: 3072, N: 768, K: 50 * n, TransA: true}
	image := device.Attention{B: n, Tq: 50, Tk: 50, Heads: 12, HeadDim: 64, Packed: true}
	text := device.Attention{B: n, Tq: 77, Tk: 77, Heads: 8, HeadDim: 64, Packed: true, Causal: true}
	conv := device.Conv2D{B: n, H: 28, W: 28, InC: 128, OutC: 128, KH: 3, KW: 3, Stride: 1, Pad: 1}
	narrow := device.Conv2D{B: n, H: 56, W: 56, InC: 256, OutC: 64, KH: 1, KW: 1, Stride: 1}
	for _, c := range []struct {
		name string
		k    device.Kernel
	}{
		{"product", plain},
		{"product GELU slope", fc},
		{"product residual", proj},
		{"product of weights' gradient", weights},
		{"attention of pictures", image},
		{"attention of pictures back", device.AttentionBack(image)},
		{"attention of texts", text},
		{"attention of texts back", device.AttentionBack(text)},
		{"convolution 3x3", device.ConvForward{Conv2D: conv}},
		{"convolution 3x3 back to data", device.ConvBackData{Conv2D: conv}},
		{"convolution 3x3 back to weights", device.ConvBackWeights{Conv2D: conv}},
		{"convolution 1x1", device.ConvForward{Conv2D: narrow}},
	} {
		b.Run(c.name, func(b *testing.B) { arithmetic(b, Options{}, c.k) })
		if low := device.WithBF16(c.k); low != c.k {
			b.Run(c.name+" TF32", func(b *testing.B) { arithmetic(b, Options{TF32: true}, c.k) })
			b.Run(c.name+" bf16", func(b *testing.B) { arithmetic(b, Options{}, low) })
		}
	}
}

func arithmetic(b *testing.B, o Options, k device.Kernel) {
	be := open(b, o)
	if _, err := be.Prepare(k); fault.KindOf(err) == fault.Unavailable {
		b.Skip(err) // an older GPU
	}
	measure(b, be, k, nil)
	b.ReportMetric(device.FLOPs(k)*float64(together*b.N)/b.Elapsed().Seconds()/1e12, "TFLOP/s")
}
