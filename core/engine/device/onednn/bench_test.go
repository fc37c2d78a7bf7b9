//go:build onednn

package onednn

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"tandem/core/engine/device"
	"tandem/core/engine/device/devicetest"
)

// bench times one kernel; bytes are those of one run, 0 when they say nothing. Rates are
// given for a second of the clock, and for a second of one core, which other work on the machine
// disturbs less.
func bench(b *testing.B, be device.Backend, k device.Kernel, bytes float64, scalars ...float64) {
	b.Helper()
	exec, bufs := prepared(b, be, k)
	exec.Run(bufs, scalars...)
	began := cpuSeconds()
	for b.Loop() {
		exec.Run(bufs, scalars...)
	}
	cpu, clock := (cpuSeconds()-began)/float64(b.N), b.Elapsed().Seconds()/float64(b.N)
	for unit, amount := range map[string]float64{"GFLOP": device.FLOPs(k), "GB": bytes} {
		if amount > 0 {
			b.ReportMetric(amount/clock/1e9, unit+"/s")
			b.ReportMetric(amount/cpu/1e9, unit+"/core-s")
		}
	}
	if bytes == 0 {
		for _, buf := range bufs {
			if buf != nil {
				bytes += float64(buf.Len()) * 4
			}
		}
	}
	peak, memory := floor(b, be)
	b.ReportMetric(100*max(device.FLOPs(k)/peak, bytes/memory)/clock, "%floor")
	if _, ok := k.(device.MatMul); ok && testing.Verbose() {
		b.Log(Implementation(exec))
	}
}

// prepared returns a kernel with arguments, until the benchmark ends.
func prepared(b *testing.B, be device.Backend, k device.Kernel) (device.Exec, []device.Buffer) {
	b.Helper()
	want, err := device.Signature(k)
	if err != nil {
		b.Fatal(err)
	}
	exec, err := be.Prepare(k)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(exec.(device.Releaser).Release)
	bufs := make([]device.Buffer, len(want))
	for i, v := range devicetest.Inputs(k, want) {
		if v != nil {
			bufs[i], _ = be.Alloc(want[i].DType, want[i].Len)
			b.Cleanup(func() { be.Free(bufs[i]) })
			be.Write(bufs[i], v)
		}
	}
	return exec, bufs
}

// rates holds what floor measured for each backend's name.
var rates = map[string][2]float64{}

// floor returns the operations of a large product and the bytes of a large sum that a backend computes in a second.
func floor(b *testing.B, be device.Backend) (flops, bytes float64) {
	r, ok := rates[be.Name()]
	if !ok {
		const n = 1 << 23
		sum := device.Binary{N: n, Period: n, Op: device.OpAdd}
		product := device.MatMul{Batch: 1, M: 1600, N: 768, K: 3072, Weights: true}
		r = [2]float64{device.FLOPs(product) / fastest(b, be, product), 12 * n / fastest(b, be, sum)}
		rates[be.Name()] = r
	}
	return r[0], r[1]
}

// fastest returns the seconds of the fastest of nine runs.
func fastest(b *testing.B, be device.Backend, k device.Kernel) (seconds float64) {
	exec, bufs := prepared(b, be, k)
	for i := range 10 {
		began := time.Now()
		exec.Run(bufs)
		if took := time.Since(began).Seconds(); i > 0 && (seconds == 0 || took < seconds) {
			seconds = took
		}
	}
	return seconds
}

// cpuSeconds returns the processor time of this process so far.
func cpuSeconds() float64 {
	var use syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &use) != nil {
		return 0
	}
	return float64(use.Utime.Nano()+use.Stime.Nano()) / 1e9
}

func BenchmarkMatMul(b *testing.B) {
	be := open(b, 2)
	for _, s := range []struct {
		name string
		k    device.MatMul
	}{
		{"peak", device.MatMul{Batch: 1, M: 1600, N: 768, K: 3072, Weights: true}},
		{"peak gelu", device.MatMul{Batch: 1, M: 1600, N: 3072, K: 768, TransB: true, Bias: true, Act: device.GELU, Weights: true}},
		{"peak pre", device.MatMul{Batch: 1, M: 1600, N: 3072, K: 768, TransB: true, Bias: true, Act: device.GELU, Slope: true, Weights: true}},
		{"peak residual", device.MatMul{Batch: 1, M: 1600, N: 768, K: 3072, TransB: true, Bias: true, Residual: true, Weights: true}},
		{"peak dx", device.MatMul{Batch: 1, M: 1600, N: 3072, K: 768, Weights: true}},
		{"peak dw", device.MatMul{Batch: 1, M: 3072, N: 768, K: 1600, TransA: true}},
		{"stack forward", device.MatMul{Batch: 1, M: 800, N: 768, K: 768, TransB: true, Bias: true, Weights: true}},
		{"stack dx", device.MatMul{Batch: 1, M: 800, N: 768, K: 768, Weights: true}},
		{"stack dw", device.MatMul{Batch: 1, M: 768, N: 768, K: 800, TransA: true}},
		{"qs patch", device.MatMul{Batch: 1, M: 2048, N: 128, K: 192, TransB: true, Weights: true}},
		{"qs qkv", device.MatMul{Batch: 1, M: 1664, N: 384, K: 128, TransB: true, Bias: true, Weights: true}},
		{"qs out", device.MatMul{Batch: 1, M: 1664, N: 128, K: 128, TransB: true, Bias: true, Residual: true, Weights: true}},
		{"qs fc", device.MatMul{Batch: 1, M: 1664, N: 512, K: 128, TransB: true, Bias: true, Act: device.GELU, Slope: true, Weights: true}},
		{"qs fc nopre", device.MatMul{Batch: 1, M: 1664, N: 512, K: 128, TransB: true, Bias: true, Weights: true}},
		{"qs proj", device.MatMul{Batch: 1, M: 1664, N: 128, K: 512, TransB: true, Bias: true, Residual: true, Weights: true}},
		{"qs dx qkv", device.MatMul{Batch: 1, M: 1664, N: 128, K: 384, Weights: true}},
		{"qs dx out", device.MatMul{Batch: 1, M: 1664, N: 128, K: 128, Weights: true}},
		{"qs dx fc", device.MatMul{Batch: 1, M: 1664, N: 128, K: 512, Weights: true}},
		{"qs dx proj", device.MatMul{Batch: 1, M: 1664, N: 512, K: 128, Weights: true}},
		{"qs dw qkv", device.MatMul{Batch: 1, M: 384, N: 128, K: 1664, TransA: true}},
		{"qs dw out", device.MatMul{Batch: 1, M: 128, N: 128, K: 1664, TransA: true}},
		{"qs dw fc", device.MatMul{Batch: 1, M: 512, N: 128, K: 1664, TransA: true}},
		{"qs dw proj", device.MatMul{Batch: 1, M: 128, N: 512, K: 1664, TransA: true}},
		{"small qkv", device.MatMul{Batch: 1, M: 2176, N: 384, K: 128, TransB: true, Bias: true, Weights: true}},
		{"small mlp", device.MatMul{Batch: 1, M: 2176, N: 512, K: 128, TransB: true, Bias: true, Act: device.GELU, Slope: true, Weights: true}},
		{"small dx", device.MatMul{Batch: 1, M: 2176, N: 128, K: 512, Weights: true}},
		{"small dw", device.MatMul{Batch: 1, M: 512, N: 128, K: 2176, TransA: true}},
		{"small dw out", device.MatMul{Batch: 1, M: 128, N: 128, K: 2176, TransA: true}},
		{"qs gate", device.MatMul{Batch: 1, M: 1664, N: 512, K: 128, Gate: true, Weights: true}},
		{"logits", device.MatMul{Batch: 1, M: 128, N: 128, K: 128, TransB: true}},
		{"large logits", device.MatMul{Batch: 1, M: 1024, N: 1024, K: 512, TransB: true}},
		{"batched", device.MatMul{Batch: 64, M: 50, N: 50, K: 64, TransB: true}},
	} {
		b.Run(s.name, func(b *testing.B) {
			bench(b, be, s.k, 0)
		})
		for name, whose := range map[string]preference{" own": own, " oneDNN": oneDNN} {
			b.Run(s.name+name, func(b *testing.B) {
				be.(*Backend).prefer(whose)
				defer be.(*Backend).prefer(measured)
				bench(b, be, s.k, 0)
			})
		}
		b.Run(s.name+" bf16", func(b *testing.B) {
			bench(b, be, device.WithBF16(s.k), 0)
		})
	}
}

func BenchmarkAttention(b *testing.B) {
	be := open(b, 2)
	for _, k := range []device.Attention{
		{B: 128, Tq: 17, Tk: 17, Heads: 2, HeadDim: 64, Packed: true},
		{B: 128, Tq: 32, Tk: 32, Heads: 4, HeadDim: 32, Packed: true, Causal: true},
		{B: 16, Tq: 50, Tk: 50, Heads: 12, HeadDim: 64, Packed: true},
		{B: 16, Tq: 77, Tk: 77, Heads: 8, HeadDim: 64, Packed: true, Causal: true},
	} {
		name := fmt.Sprintf("T%dxD%dxH%d", k.Tq, k.HeadDim, k.Heads)
		b.Run(name+" forward", func(b *testing.B) { bench(b, be, k, 0) })
		b.Run(name+" back", func(b *testing.B) { bench(b, be, device.AttentionBack(k), 0) })
	}
}

func BenchmarkStreams(b *testing.B) {
	be := open(b, 2)
	const n = 800 * 3072
	for _, s := range []struct {
		k       device.Kernel
		floats  float64
		scalars []float64
	}{
		{device.Act{N: n, Act: device.GELU}, 2 * n, nil},
		{device.ActBack{N: n, Act: device.GELU}, 3 * n, nil},
		{device.ActBack{N: n, Act: device.QuickGELU}, 3 * n, nil},
		{device.Binary{N: n, Period: n, Op: device.OpAdd}, 3 * n, nil},
		{device.LayerNorm{Rows: 3200, Cols: 768, Eps: 1e-5}, 2 * n, nil},
		{device.LayerNormBack{Rows: 3200, Cols: 768, Eps: 1e-5}, 3 * n, nil},
		{device.LayerNormBack{Rows: 2176, Cols: 128, Eps: 1e-5}, 3 * 2176 * 128, nil},
		{device.SumRows{Rows: 800, Cols: 3072}, n, nil},
		{device.SumSquares{N: n}, n, nil},
		{device.AdamW{N: 1 << 23, Beta1: .9, Beta2: .98, Eps: 1e-6}, 7 << 23, []float64{1e-3, .2, 1, 1}},
		{device.AdamW{N: 1 << 18, Beta1: .9, Beta2: .98, Eps: 1e-6}, 7 << 18, []float64{1e-3, .2, 1, 1}},
		{device.CrossEntropyBack{Rows: 1024, Cols: 1024}, 2 << 20, nil},
		{device.Patchify{B: 128, H: 32, W: 32, C: 3, P: 8}, 2 * 128 * 32 * 32 * 3, nil},
		{device.Normalize{N: 128 * 32 * 32, Std: [3]float64{1, 1, 1}}, 1.25 * 128 * 32 * 32 * 3, nil},
		{device.BatchStats{Rows: 32 * 56 * 56, C: 64}, 32 * 56 * 56 * 64, nil},
		{device.BatchNormBack{Rows: 32 * 56 * 56, C: 64, Eps: 1e-5, Act: device.ReLU, Training: true}, 4 * 32 * 56 * 56 * 64, nil},
	} {
		b.Run(fmt.Sprintf("%T", s.k)[len("device."):], func(b *testing.B) { bench(b, be, s.k, 4*s.floats, s.scalars...) })
	}
}

func BenchmarkConv(b *testing.B) {
	be := open(b, 2)
	for _, c := range []device.Conv2D{
		{B: 16, H: 56, W: 56, InC: 64, OutC: 64, KH: 3, KW: 3, Stride: 1, Pad: 1},
		{B: 16, H: 14, W: 14, InC: 256, OutC: 1024, KH: 1, KW: 1, Stride: 1},
		{B: 16, H: 224, W: 224, InC: 3, OutC: 32, KH: 3, KW: 3, Stride: 2, Pad: 1},
	} {
		name := fmt.Sprintf("%dx%d", c.H, c.KH)
		b.Run(name+" forward", func(b *testing.B) { bench(b, be, device.ConvForward{Conv2D: c}, 0) })
		b.Run(name+" data", func(b *testing.B) { bench(b, be, device.ConvBackData{Conv2D: c}, 0) })
		b.Run(name+" weights", func(b *testing.B) { bench(b, be, device.ConvBackWeights{Conv2D: c}, 0) })
	}
}

// BenchmarkRun measures the price of calling a kernel that does next to nothing.
func BenchmarkRun(b *testing.B) {
	be := open(b, 2)
	bench(b, be, device.Act{N: 1}, 0)
}

// BenchmarkStack trains 12 linear layers with QuickGELU on [800, 768], kernels only: what an engine
// built on this backend can reach at most.
func BenchmarkStack(b *testing.B) {
	const layers, m, w = 12, 800, 768
	be := open(b, 2)
	prepare := func(k device.Kernel) device.Exec {
		exec, err := be.Prepare(k)
		if err != nil {
			b.Fatal(err)
		}
		return exec
	}
	alloc := func(n int) device.Buffer {
		buf, err := be.Alloc(device.Real, n)
		if err != nil {
			b.Fatal(err)
		}
		return buf
	}
	forward := prepare(device.MatMul{Batch: 1, M: m, N: w, K: w, TransB: true, Bias: true, Act: device.QuickGELU, Slope: true, Weights: true})
	actBack := prepare(device.ActBack{N: m * w, Act: device.QuickGELU})
	dx := prepare(device.MatMul{Batch: 1, M: m, N: w, K: w, Weights: true})
	dw := prepare(device.MatMul{Batch: 1, M: w, N: w, K: m, TransA: true})
	db := prepare(device.SumRows{Rows: m, Cols: w})
	params := alloc(layers * w * (w + 1))
	grads := alloc(layers * w * (w + 1))
	first, second := alloc(layers*w*(w+1)), alloc(layers*w*(w+1))
	adam := prepare(device.AdamW{N: layers * w * (w + 1), Beta1: .9, Beta2: .98, Eps: 1e-6})
	start := make([]float32, layers*w*(w+1))
	for i := range start {
		start[i] = float32(i%13-6) / 150
	}
	be.Write(params, start)
	var x, pre [layers + 1]device.Buffer
	for l := range x {
		x[l], pre[l] = alloc(m*w), alloc(m*w)
	}
	be.Write(x[0], start[:m*w])
	dy, dpre := alloc(m*w), alloc(m*w)
	part := func(of device.Buffer, l int) (weight, bias device.Buffer) {
		at := l * w * (w + 1)
		return be.View(of, at, w*w), be.View(of, at+w*w, w)
	}
	step := func() {
		for l := range layers {
			weight, bias := part(params, l)
			forward.Run([]device.Buffer{x[l], weight, bias, nil, x[l+1], pre[l]})
		}
		be.Copy(dy, x[layers])
		for l := layers - 1; l >= 0; l-- {
			weight, _ := part(params, l)
			gw, gb := part(grads, l)
			actBack.Run([]device.Buffer{pre[l], dy, dpre})
			dw.Run([]device.Buffer{dpre, x[l], nil, nil, gw})
			db.Run([]device.Buffer{dpre, gb})
			dx.Run([]device.Buffer{dpre, weight, nil, nil, dy})
		}
		adam.Run([]device.Buffer{grads, params, first, second}, 1e-5, 0, 1, 1)
		be.ParamsChanged()
	}
	step()
	began := cpuSeconds()
	for b.Loop() {
		step()
	}
	flops := float64(b.N) * layers * 3 * 2 * m * w * w / 1e9
	b.ReportMetric(flops/b.Elapsed().Seconds(), "GFLOP/s")
	b.ReportMetric(flops/(cpuSeconds()-began), "GFLOP/core-s")
}
