package reference

import "tandem/core/engine/device"

// roundInputs returns a product whose arguments at places, two at most, are rounded to bfloat16 before it runs, when
// bf16 is set. This is what hardware for bfloat16 computes, up to the order of the sums.
func (b *Backend[T]) roundInputs(bf16 bool, product func(args[T], scalars), places ...int) func(args[T], scalars) {
	if !bf16 {
		return product
	}
	var bound args[T]
	var copies [2]buffer[T]
	return func(a args[T], s scalars) {
		bound = append(bound[:0], a...)
		for i, place := range places {
			from, n := a[place].f, len(a[place].f)
			if cap(b.rounded[i]) < n {
				b.rounded[i] = makeAligned[T](n)
			}
			to := b.rounded[i][:n]
			b.split(n, 4, func(_, lo, hi int) { roundBF16(to[lo:hi], from[lo:hi]) })
			copies[i].f = to
			bound[place] = &copies[i]
		}
		product(bound, s)
	}
}

// roundBF16 sets to to the bfloat16 nearest to from. They may be the same.
func roundBF16[T Float](to, from []T) {
	for i, x := range from {
		to[i] = T(device.RoundBF16(float32(x)))
	}
}

// EmulatesBF16 implements device.BF16Emulator: Go has no bfloat16.
func (b *Backend[T]) EmulatesBF16() bool { return true }
