package device

import (
	"math"
	"time"
)

// RoundBF16 rounds x to the nearest bfloat16, ties to even: eight bits of significand, the exponents of
// float32. Numbers beyond the largest become infinite; NaN stays NaN.
func RoundBF16(x float32) float32 {
	u := math.Float32bits(x)
	if x != x {
		return math.Float32frombits(u&^0xffff | 0x400000)
	}
	return math.Float32frombits((u + 0x7fff + u>>16&1) &^ 0xffff)
}

// WithBF16 returns a kernel with its products in bfloat16. Kernels without products are returned as they are.
func WithBF16(kernel Kernel) Kernel {
	if k, ok := kernel.(interface{ WithBF16() Kernel }); ok {
		return k.WithBF16()
	}
	return kernel
}

// BF16Emulator is implemented by backends that may lack products of bfloat16: they round operands and multiply
// them as Real, which gives the same numbers up to the order of the sums.
type BF16Emulator interface {
	// EmulatesBF16 reports that there are none.
	EmulatesBF16() bool
}

// EmulatesBF16 reports whether products with BF16 take no less time on a backend than those without.
func EmulatesBF16(b Backend) bool {
	e, ok := b.(BF16Emulator)
	return ok && e.EmulatesBF16()
}

// BF16Attender is implemented by backends with kernels of attention in bfloat16. Others compute attention in Real in
// every precision.
type BF16Attender interface {
	// AttendsBF16 reports whether there are such kernels for Attention of this shape and its AttentionBack.
	AttendsBF16(Attention) bool
}

// WithBF16Attention returns a kernel of attention in bfloat16 where a backend has it so, else the kernel as it is.
func WithBF16Attention(b Backend, kernel Kernel) Kernel {
	a, ok := b.(BF16Attender)
	if !ok {
		return kernel
	}
	switch k := kernel.(type) {
	case Attention:
		k.BF16 = k.BF16 || a.AttendsBF16(k)
		return k
	case AttentionBack:
		k.BF16 = k.BF16 || a.AttendsBF16(Attention(k))
		return k
	}
	return kernel
}

// BF16Gain measures how many times as fast as float32 a backend computes products with BF16: the best of five runs of a
// product of 512 by 512 by 512, in some milliseconds. It returns 1 for a backend that is no BF16Emulator: GPUs have them.
func BF16Gain(b Backend) (float64, error) {
	if _, ok := b.(BF16Emulator); !ok {
		return 1, nil
	}
	const n = 512
	var args [5]Buffer
	values := make([]float32, n*n)
	for i := range values {
		values[i] = float32(i%7-3) / 8 // zeros and denormals can run at another speed
	}
	for _, i := range []int{0, 1, 4} {
		buffer, err := b.Alloc(Real, n*n)
		if err != nil {
			return 0, err
		}
		defer b.Free(buffer)
		args[i] = buffer
		b.Write(buffer, values)
	}
	product := MatMul{Batch: 1, M: n, N: n, K: n}
	var best [2]time.Duration
	for i, k := range []Kernel{product, WithBF16(product)} {
		exec, err := b.Prepare(k)
		if err != nil {
			return 0, err
		}
		if r, ok := exec.(Releaser); ok {
			defer r.Release()
		}
		for run := range 6 {
			start := time.Now()
			exec.Run(args[:])
			if took := time.Since(start); run > 0 && (best[i] == 0 || took < best[i]) {
				best[i] = took
			}
		}
	}
	return best[0].Seconds() / max(best[1].Seconds(), 1e-9), nil
}
