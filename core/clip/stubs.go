package clip

import (
	"context"

	"tandem/core/tensor"
)

// BackwardNormer returns the gradient norm together with the last Backward before a Step. The trainer's
// stubs of encoders in other processes implement it, because each call costs them time; plugins need not.
type BackwardNormer interface {
	// BackwardNorm calls Backward, then GradNorm.
	BackwardNorm(ctx context.Context, t Ticket, grad *tensor.Tensor) (sumOfSquares float64, err error)
}

// BackwardTokensNormer does for a TokenEncoder what BackwardNormer does for an encoder.
type BackwardTokensNormer interface {
	// BackwardTokensNorm calls BackwardTokens, then GradNorm.
	BackwardTokensNorm(ctx context.Context, t Ticket, grad, tokens *tensor.Tensor) (sumOfSquares float64, err error)
}

// LaterStepper puts a step off until the next call, which carries it along. The trainer's stubs of plugins in other
// processes implement it, because each call costs them time; plugins need not.
type LaterStepper interface {
	// StepLater does what Step does, at the latest when the next call of any method that sees parameters or gradients begins, so
	// that none sees those from before the step. An error of the step may be that call's; the step is then still due.
	StepLater(ctx context.Context, step int, lr, scale float64) error
}

// ComputeNormer does for a loss what BackwardNormer does for an encoder.
type ComputeNormer interface {
	// ComputeNorm calls Compute, then GradNorm.
	ComputeNorm(context.Context, LossRequest) (r *LossResult, sumOfSquares float64, err error)
}
