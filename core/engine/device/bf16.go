package device

import "math"

// RoundBF16 is the bfloat16 nearest to x, ties to even: eight bits of significand, the exponents of
// float32. Numbers beyond the largest become infinite; NaN stays NaN.
func RoundBF16(x float32) float32 {
	u := math.Float32bits(x)
	if x != x {
		return math.Float32frombits(u&^0xffff | 0x400000)
	}
	return math.Float32frombits((u + 0x7fff + u>>16&1) &^ 0xffff)
}

// WithBF16 is a kernel with its products in bfloat16; kernels without products are returned as they are.
func WithBF16(kernel Kernel) Kernel {
	switch k := kernel.(type) {
	case MatMul:
		k.BF16 = true
		return k
	case ConvForward:
		k.BF16 = true
		return k
	case ConvBackData:
		k.BF16 = true
		return k
	case ConvBackWeights:
		k.BF16 = true
		return k
	}
	return kernel
}

// BF16Emulator is a backend that may have no products of bfloat16: it rounds operands and multiplies them as
// Real, which gives the same numbers up to the order of the sums.
type BF16Emulator interface {
	// EmulatesBF16 says that it has none.
	EmulatesBF16() bool
}

// EmulatesBF16 says that products with BF16 take no less time on a backend than those without.
func EmulatesBF16(b Backend) bool {
	e, ok := b.(BF16Emulator)
	return ok && e.EmulatesBF16()
}

// RoundedBF16 are the arguments that a kernel rounds to bfloat16 before it uses them.
func RoundedBF16(kernel Kernel) Places {
	bf16 := false
	switch k := kernel.(type) {
	case MatMul:
		bf16 = k.BF16
	case ConvForward:
		bf16 = k.BF16
	case ConvBackData:
		bf16 = k.BF16
	case ConvBackWeights:
		bf16 = k.BF16
	}
	if bf16 {
		return At(0, 1)
	}
	return 0
}
