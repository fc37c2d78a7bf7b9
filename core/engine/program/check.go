package program

import (
	"context"
	"slices"

	"tandem/core/fault"
)

// CheckContext returns fault.Canceled once the context has ended.
func CheckContext(ctx context.Context, op string) error {
	if err := context.Cause(ctx); err != nil {
		return fault.New(fault.Canceled, "%w", err).WithOp(op)
	}
	return nil
}

// CheckPrecision refuses precisions that no backend knows.
func CheckPrecision(precision string) error {
	if !slices.Contains([]string{"", "f32", "tf32", "bf16", "bf16-emulated"}, precision) {
		return fault.New(fault.Invalid, "%q is not supported", precision).WithPath("compute.precision").
			WithHint("precision: f32, tf32, bf16 or bf16-emulated")
	}
	return nil
}

// FirstNotFinite returns the index of the first value that is NaN or infinite; −1 when there is none.
func FirstNotFinite(values []float32) int {
	return slices.IndexFunc(values, func(v float32) bool { return v-v != 0 })
}
