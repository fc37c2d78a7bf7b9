package devices

import (
	"time"

	"tandem/core/engine/device"
)

// PeakBytes measures the rate at which a backend moves memory, in bytes per second: the best of
// several sums of two arrays of 64 MiB into a third, read and written bytes together.
func PeakBytes(b device.Backend) (float64, error) {
	const n = 16 << 20
	exec, err := b.Prepare(device.Binary{N: n, Period: n, Op: device.OpAdd})
	if err != nil {
		return 0, err
	}
	if r, ok := exec.(device.Releaser); ok {
		defer r.Release()
	}
	args := make([]device.Buffer, 3)
	for i := range args {
		if args[i], err = b.Alloc(device.Real, n); err != nil {
			return 0, err
		}
		defer b.Free(args[i])
	}
	exec.Run(args) // touches the memory and wakes the threads
	best, began := time.Duration(0), time.Now()
	one, view := make([]float32, 1), b.View(args[2], 0, 1)
	for i := 0; i < 3 || (i < 20 && time.Since(began) < 250*time.Millisecond); i++ {
		start := time.Now()
		exec.Run(args)
		b.Read(one, view)
		if took := time.Since(start); best == 0 || took < best {
			best = took
		}
	}
	return 3 * n * 4 / best.Seconds(), nil
}

// PeakGFLOPS measures the matrix product rate of a backend, in 10⁹ floating point operations per
// second: the best of several runs of [1600, 3072]·[3072, 768] with parameters as the right side, a
// shape of a ViT-B's MLP. It takes under half a second (longer on the pure Go backend), and
// is the figure that a training step is held against.
//
// With bf16 the products are bfloat16's where they are faster.
func PeakGFLOPS(b device.Backend, bf16 bool) (float64, error) {
	return PeakGFLOPSIn(400*time.Millisecond, b, bf16)
}

// peakProduct describes the product that PeakGFLOPS measures.
var peakProduct = device.MatMul{Batch: 1, M: 1600, N: 768, K: 3072, Weights: true}

// PeakMemory returns the bytes that PeakGFLOPS takes of a backend, beside Go's heap, while it measures: the three
// matrices, and the right one as the processor wants it, once to be used and once to be made.
func PeakMemory(b device.Backend) int64 {
	if _, ok := b.(device.HeapUser); ok {
		return 0
	}
	k := peakProduct
	return 4 * int64(k.M*k.K+3*k.K*k.N+k.M*k.N)
}

// PeakGFLOPSIn does what PeakGFLOPS does in about a given time, but takes three runs at least.
func PeakGFLOPSIn(limit time.Duration, b device.Backend, bf16 bool) (float64, error) {
	k := peakProduct
	peak, err := productRate(limit, b, k, k)
	if err != nil || !bf16 {
		return peak, err
	}
	low, err := productRate(limit, b, k, device.WithBF16(k))
	return max(peak, low), err
}

// productRate measures a kernel that computes the product k.
func productRate(limit time.Duration, b device.Backend, k device.MatMul, kernel device.Kernel) (float64, error) {
	exec, err := b.Prepare(kernel)
	if err != nil {
		return 0, err
	}
	if r, ok := exec.(device.Releaser); ok {
		defer r.Release()
	}
	sizes := []int{k.M * k.K, k.K * k.N, k.M * k.N}
	bufs := make([]device.Buffer, len(sizes))
	values := make([]float32, k.N)
	for j := range values {
		// Small varied numbers: zeros and denormals can run at another speed.
		values[j] = float32(j%7-3) / 8
	}
	for i, n := range sizes {
		if bufs[i], err = b.Alloc(device.Real, n); err != nil {
			return 0, err
		}
		defer b.Free(bufs[i])
		for at := 0; at < n; at += k.N { // which divides all sizes
			b.Write(b.View(bufs[i], at, k.N), values)
		}
	}
	b.ParamsChanged()
	args := []device.Buffer{bufs[0], bufs[1], nil, nil, bufs[2]}
	exec.Run(args) // packs the weights and wakes the threads
	best, began := time.Duration(0), time.Now()
	// A run only counts once its result can be read: a GPU returns from Run before it is done.
	one := make([]float32, 1)
	view := b.View(bufs[2], 0, 1)
	for i := 0; i < 3 || (i < 60 && time.Since(began) < limit); i++ {
		start := time.Now()
		exec.Run(args)
		b.Read(one, view)
		if took := time.Since(start); best == 0 || took < best {
			best = took
		}
	}
	return device.FLOPs(k) / best.Seconds() / 1e9, nil
}
