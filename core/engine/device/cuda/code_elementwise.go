//go:build clipcuda

package cuda

import "tandem/core/engine/device"

// elementwiseCode launches the kernels of elementwise.cu.
func elementwiseCode(kernel device.Kernel) (code, bool) {
	switch k := kernel.(type) {
	case device.Act:
		return run(over(k.N, "act", arg(0), arg(1), k.N, int(k.Act), isHalf(0), isHalf(1)))
	case device.ActBack:
		return run(over(k.N, "act_back", arg(0), arg(1), arg(2), k.N, int(k.Act), isHalf(0), isHalf(1), isHalf(2)))
	case device.Binary:
		if k.Period == 1 {
			return run(over(k.N, "binary_scalar", arg(0), arg(1), arg(2), k.N, int(k.Op), isHalf(0), isHalf(1), isHalf(2)))
		}
		rows := k.N / k.Period
		return run(overPlane(rows, k.Period, "binary", arg(0), arg(1), arg(2), rows, k.Period, int(k.Op), isHalf(0), isHalf(1), isHalf(2)))
	case device.Scale:
		return run(over(k.N, "scale", arg(0), arg(1), k.N, scalar{0, 1}, scalar{1, 0}, isHalf(0), isHalf(1)))
	case device.ScaleBy:
		return run(over(k.N, "scale_by", arg(0), arg(1), arg(2), k.N, bit(k.Exp)))
	case device.ScaleByBack:
		back := summing(k.N, "scale_by_back", arg(0), arg(1), arg(2), arg(3), temp(0), k.N, bit(k.Exp))
		return code{scratch: partBytes, launches: []launch{back,
			start("scale_by_slope", dim{}, dim{x: threads}, temp(0), arg(1), arg(4), back.grid.x, bit(k.Exp))}}, true
	case device.Accumulate:
		return run(over(k.N, "accumulate", arg(0), arg(1), k.N, scalar{0, 1}))
	case device.SumSquares:
		sum := summing(k.N, "sum_squares", arg(0), temp(0), k.N)
		return code{scratch: partBytes, launches: []launch{sum, sumParts(1, sum.grid.x, temp(0), arg(1))}}, true
	case device.Softplus:
		return run(over(k.N, "softplus", arg(0), arg(1), k.N))
	case device.SoftplusBack:
		return run(over(k.N, "softplus_back", arg(0), arg(1), arg(2), k.N))
	case device.Normalize:
		params := []any{arg(0), arg(1), k.N}
		for _, std := range k.Std {
			params = append(params, 1/(255*std))
		}
		for c, mean := range k.Mean {
			params = append(params, -mean/k.Std[c])
		}
		return run(over(3*k.N, "normalize", params...))
	case device.BroadcastRows:
		return run(overPlane(k.Rows, k.Cols, "broadcast_rows", arg(0), arg(1), k.Rows, k.Cols, scalar{0, 1}))
	}
	return code{}, false
}

// partBytes makes room for a double of each block of a sum over all numbers.
const partBytes = 8 * 1024

// summing returns the launch of a flat kernel whose blocks each leave a double in partBytes.
func summing(n int, entry string, params ...any) launch {
	return start(entry, dim{x: min(ceil(n, 8*threads), partBytes/8)}, dim{x: threads}, params...)
}

// These say what an epilogue does with a product's residual or gate; the numbers are those of elementwise.cu.
const (
	combineNothing = iota
	combineAdds
	combineMultiplies
)

// toBF16 rounds n numbers at x to bfloat16 at y.
func toBF16(x, y any, n int) launch { return convert(x, y, n, false, true) }

// convert writes n numbers at x to y; the flags say which are bfloat16.
func convert(x, y any, n int, halfX, halfY bool) launch {
	return over(n, "convert", x, y, n, bit(halfX), bit(halfY))
}
