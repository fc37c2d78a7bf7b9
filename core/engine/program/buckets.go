package program

import (
	"tandem/core/fault"
	"tandem/core/tensor"
)

// CheckBuckets demands f32 tensors of these sizes, as clip.Bucketed's StepWith gets them.
func CheckBuckets(gradients []*tensor.Tensor, sizes []int) error {
	if len(gradients) != len(sizes) {
		return fault.New(fault.Invalid, "%d gradients for %d buckets", len(gradients), len(sizes)).WithOp("step")
	}
	for k, g := range gradients {
		if g == nil || g.DType != tensor.F32 || !g.Shape.Equal(tensor.Shape{sizes[k]}) {
			return fault.New(fault.Invalid, "the gradients of bucket %d are missing or not f32 [%d]", k, sizes[k]).WithOp("step")
		}
	}
	return nil
}
