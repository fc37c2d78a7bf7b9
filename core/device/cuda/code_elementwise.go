//go:build clipcuda

package cuda

import "tandem/core/device"

func elementwiseCode(device.Kernel) (code, bool) { return code{}, false }

// What an epilogue does with a product's residual or gate.
const (
	combineNothing = iota
	combineAdds
	combineMultiplies
)

// epilogue is the kernel after a product.
func epilogue(from, bias, other, to, slope any, rows, cols int, act device.Activation, combine int) launch {
	return launch{entry: "epilogue", grid: dim{x: ceil(rows*cols, 1024)}, block: dim{x: 256},
		params: []any{from, bias, other, to, slope, rows, cols, int(act), combine}}
}

// toBF16 rounds n numbers to bfloat16.
func toBF16(x, y any, n int) launch {
	return launch{entry: "to_bf16", grid: dim{x: ceil(n, 1024)}, block: dim{x: 256}, params: []any{x, y, n}}
}
