package tower

import (
	"tandem/core/engine/device"
	"tandem/core/fault"
)

// checkBF16 refuses precision bf16 on a backend that would have to round every operand and multiply float32: slower than
// f32, which nobody means who asks for bf16. fault.Invalid.
func checkBF16(b device.Backend, precision string) error {
	if precision != "bf16" || !device.EmulatesBF16(b) {
		return nil
	}
	return fault.New(fault.Invalid, "%s has no products of bfloat16 here, and to round operands for products of float32 takes more time than f32", b.Name()).WithPath("compute.precision").
		WithHint("precision: f32, or bf16-emulated for the numbers of bf16 all the same; an x86-64 processor with AVX512_BF16 or a GPU has such products")
}
