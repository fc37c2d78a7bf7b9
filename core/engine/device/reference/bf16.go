package reference

import "tandem/core/engine/device"

// roundInputs returns a product whose first two arguments are rounded to bfloat16 before it runs, when bf16 is
// set. This is what hardware for bfloat16 computes, up to the order of the sums.
func (b *Backend[T]) roundInputs(bf16 bool, product func(args[T], scalars)) func(args[T], scalars) {
	if !bf16 {
		return product
	}
	var bound args[T]
	var copies [2]buffer[T]
	return func(a args[T], s scalars) {
		bound = append(bound[:0], a...)
		for i := range b.rounded {
			from, n := a[i].f, len(a[i].f)
			if cap(b.rounded[i]) < n {
				b.rounded[i] = makeAligned[T](n)
			}
			to := b.rounded[i][:n]
			b.split(n, 4, func(_, lo, hi int) {
				for j := lo; j < hi; j++ {
					to[j] = T(device.RoundBF16(float32(from[j])))
				}
			})
			copies[i].f = to
			bound[i] = &copies[i]
		}
		product(bound, s)
	}
}

// EmulatesBF16 implements device.BF16Emulator: Go has no bfloat16.
func (b *Backend[T]) EmulatesBF16() bool { return true }
