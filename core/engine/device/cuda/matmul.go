//go:build clipcuda

package cuda

import (
	"math"

	"tandem/core/engine/device"
	"tandem/core/engine/device/cuda/driver"
	"tandem/core/fault"
)

// matMulCode multiplies by cuBLAS; then one kernel does all that follows the product, when anything does.
func (b *Backend) matMulCode(k device.MatMul) (code, error) {
	if k.BF16 {
		if err := b.checkBF16(); err != nil {
			return code{}, err
		}
	}
	if k.RowSums {
		return code{}, fault.New(fault.Unavailable, "no product with row sums")
	}
	if max(k.Batch, k.M, k.N, k.K) > math.MaxInt32 {
		return code{}, fault.New(fault.Unavailable, "cuBLAS takes sizes up to %d", math.MaxInt32)
	}
	const a, right, bias, other, c, slope = arg(0), arg(1), arg(2), arg(3), arg(4), arg(5)
	to, half := c, any(nil)
	if k.Slope {
		to, half = slope, isHalf(c) // the product is float32, and c may be bfloat16
	}
	rows, cols := 0, 0
	if k.BF16 {
		rows, cols = k.GradientShape()
	}
	product := code{rows: rows, cols: cols, launches: []launch{{call: func(x *call) error { return x.multiply(k, a, right, to, rows, cols) }}}}
	if k.BF16 {
		product.halves = []arg{a, right}
	}
	if !k.Bias && k.Act == device.Identity && !k.Slope && !k.Residual && !k.Gate {
		return product, nil
	}
	var addend, factor, derivative any
	combine := combineNothing
	if k.Bias {
		addend = bias
	}
	if k.Residual {
		factor, combine = other, combineAdds
	}
	if k.Gate {
		factor, combine = other, combineMultiplies
	}
	if k.Slope {
		derivative = slope
	}
	product.launches = append(product.launches,
		epilogue(to, addend, factor, c, derivative, k.Batch*k.M, k.N, k.Act, combine, half))
	return product, nil
}

// multiply computes C = alpha·op(A)·op(B). rows and cols are those of MatMul.GradientShape, or 0.
func (x *call) multiply(k device.MatMul, a, b, c arg, rows, cols int) (err error) {
	p := driver.Product{M: k.M, N: k.N, K: k.K, Batch: k.Batch, TransA: k.TransA, TransB: k.TransB,
		A: x.at(a), B: x.at(b), C: x.at(c), StrideA: k.M * k.K, StrideB: k.K * k.N, StrideC: k.M * k.N,
		TF32: x.b.options.TF32, Alpha: float32(x.scalar(scalar{0, 1}))}
	if k.BF16 {
		p.Type = driver.BF16
		if p.A, err = x.gradientInBF16(a, rows, cols); err != nil {
			return err
		}
		if p.B, err = x.inBF16(b); err != nil {
			return err
		}
	}
	return x.b.blas.Multiply(p)
}
