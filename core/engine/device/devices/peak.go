package devices

import (
	"slices"
	"time"

	"tandem/core/engine/device"
)

// PeakBytes measures the rate at which a backend moves memory, in bytes per second: the best of
// several sums of two arrays of 64 MiB into a third, read and written bytes together. On a GPU the arrays have 512 MiB,
// which no cache holds, and the median by its own clock counts.
func PeakBytes(b device.Backend) (float64, error) {
	rate, err := bytesRate(b, 16<<20)
	if _, ok := b.(device.Timer); !ok || err != nil || rate < fastBytes {
		return rate, err
	}
	return bytesRate(b, 128<<20)
}

// What a device must reach in a small measurement before a large one is worth its time; and so that it takes little.
const (
	fastBytes   = 100e9 // bytes per second: 1.5 GiB take 16 ms at most
	fastProduct = 2e12  // FLOP/s: 8192³ takes half a second at most
)

// runTime returns how long a run of exec takes, which writes out last: the median by the backend's own clock of many;
// where it has none, the best by the host's. Runs end after about a given time, and there are between 3 and most.
func runTime(b device.Backend, limit time.Duration, most int, run func(), out device.Buffer) (time.Duration, error) {
	one, view := make([]float32, 1), b.View(out, 0, 1)
	timer, ok := b.(device.Timer)
	best, began := time.Duration(0), time.Now()
	for i := 0; i < 3 || (i < most && time.Since(began) < limit); i++ {
		start := time.Now()
		run()
		b.Read(one, view) // a run only counts once its result can be read: a GPU returns before it is done
		if took := time.Since(start); best == 0 || took < best {
			best = took
		}
		if ok {
			break
		}
	}
	if err := device.Err(b); err != nil || !ok {
		return best, err
	}
	all, err := timer.Time(min(max(3, int(limit/max(best, 1))), most), run)
	if err != nil {
		return 0, err
	}
	slices.Sort(all)
	return max(all[len(all)/2], 1), nil
}

func bytesRate(b device.Backend, n int) (float64, error) {
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
	took, err := runTime(b, 250*time.Millisecond, 20, func() { exec.Run(args) }, args[2])
	if err != nil {
		return 0, err
	}
	return 3 * float64(n) * 4 / took.Seconds(), nil
}

// PeakGFLOPS measures the matrix product rate of a backend, in 10⁹ floating point operations per
// second: the best of several runs of [1600, 3072]·[3072, 768] with parameters as the right side, a
// shape of a ViT-B's MLP. It takes under half a second (longer on the pure Go backend), and
// is the figure that a training step is held against.
//
// With bf16 the products are bfloat16's where they are faster. A GPU computes that shape in some microseconds, most of
// which are no arithmetic: it is measured by [8192, 8192]·[8192, 8192], the median by its own clock.
func PeakGFLOPS(b device.Backend, bf16 bool) (float64, error) {
	return PeakGFLOPSIn(400*time.Millisecond, b, bf16)
}

// peakProduct describes the product that PeakGFLOPS measures, largeProduct that of a GPU.
var (
	peakProduct  = device.MatMul{Batch: 1, M: 1600, N: 768, K: 3072, Weights: true}
	largeProduct = device.MatMul{Batch: 1, M: 8192, N: 8192, K: 8192, Weights: true}
)

// PeakMemory returns the bytes that PeakGFLOPS takes of a backend, beside Go's heap, while it measures: the three
// matrices, and the right one as the processor wants it, once to be used and once to be made. A device with a clock has
// memory of its own for them.
func PeakMemory(b device.Backend) int64 {
	if _, ok := b.(device.HeapUser); ok {
		return 0
	}
	if _, ok := b.(device.Timer); ok {
		return 0
	}
	k := peakProduct
	return 4 * int64(k.M*k.K+3*k.K*k.N+k.M*k.N)
}

// PeakGFLOPSIn does what PeakGFLOPS does in about a given time, but takes three runs at least.
func PeakGFLOPSIn(limit time.Duration, b device.Backend, bf16 bool) (float64, error) {
	k := peakProduct
	peak, err := productRate(limit, b, k, k)
	if _, ok := b.(device.Timer); ok && err == nil && 1e9*peak >= fastProduct {
		k = largeProduct
		peak, err = productRate(limit, b, k, k)
	}
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
	took, err := runTime(b, limit, 60, func() { exec.Run(args) }, bufs[2])
	if err != nil {
		return 0, err
	}
	return device.FLOPs(k) / took.Seconds() / 1e9, nil
}
