//go:build clipcuda

package cuda

import (
	"math"

	"tandem/core/engine/device"
	"tandem/core/engine/device/cuda/driver"
	"tandem/core/fault"
)

// product holds how a MatMul is computed: by cublasLt with bias and residual in its epilogue, or by a product without
// them, of cublasLt or cuBLAS, and then one kernel of ours for all that follows it, when anything does.
type product struct {
	device.MatMul
	rows, cols int // of MatMul.GradientShape, or 0
	to         arg // where the product goes that a kernel of ours follows
	follows    bool
	next       launch // that kernel
}

// The arguments of a MatMul.
const (
	leftArg, rightArg, biasArg, otherArg = arg(0), arg(1), arg(2), arg(3)
	resultArg, slopeArg                  = arg(4), arg(5)
)

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
	p := product{MatMul: k, to: resultArg, follows: k.Bias || k.Act != device.Identity || k.Slope || k.Residual || k.Gate}
	made := code{}
	if k.BF16 {
		p.rows, p.cols = k.GradientShape()
		made.rows, made.cols, made.halves = p.rows, p.cols, []arg{leftArg, rightArg}
	}
	var l launch
	if p.follows {
		half := any(nil)
		if k.Slope {
			p.to, half = slopeArg, isHalf(resultArg) // the product is float32, and c may be bfloat16
			l.params = []any{half}
		}
		p.next = p.epilogue(half)
		if _, err := b.step(p.next); err != nil {
			return code{}, err
		}
	}
	l.call = p.run
	made.launches = []launch{l}
	return made, nil
}

// epilogue returns the launch that follows the product.
func (p *product) epilogue(half any) launch {
	var addend, factor, derivative any
	combine := combineNothing
	if p.Bias {
		addend = biasArg
	}
	if p.Residual {
		factor, combine = otherArg, combineAdds
	}
	if p.Gate {
		factor, combine = otherArg, combineMultiplies
	}
	if p.Slope {
		derivative = slopeArg
	}
	return epilogue(p.to, addend, factor, resultArg, derivative, p.Batch*p.M, p.N, p.Act, combine, half)
}

// run computes the MatMul.
func (p product) run(x *call) error {
	f, err := x.operands(p.MatMul, leftArg, rightArg, p.rows, p.cols)
	if err != nil {
		return err
	}
	if p.follows && p.Act == device.Identity && !p.Slope && !p.Gate {
		fused := f
		fused.C = x.at(resultArg)
		if p.Bias {
			fused.Bias = x.at(biasArg)
		}
		if p.Residual {
			fused.Residual, fused.Beta = x.at(otherArg), 1
		}
		if done, err := x.b.byLt(fused); done || err != nil {
			return err
		}
	}
	f.C = x.at(p.to)
	if err := x.b.multiply(f); err != nil || !p.follows {
		return err
	}
	return x.run(p.next)
}

// multiply computes C = alpha·op(A)·op(B). rows and cols are those of MatMul.GradientShape, or 0.
func (x *call) multiply(k device.MatMul, a, b, c arg, rows, cols int) error {
	f, err := x.operands(k, a, b, rows, cols)
	if err != nil {
		return err
	}
	f.C = x.at(c)
	return x.b.multiply(f)
}

// operands returns the product alpha·op(A)·op(B), with no place for it.
func (x *call) operands(k device.MatMul, a, b arg, rows, cols int) (f driver.Fused, err error) {
	f.Product = driver.Product{M: k.M, N: k.N, K: k.K, Batch: k.Batch, TransA: k.TransA, TransB: k.TransB,
		A: x.at(a), B: x.at(b), StrideA: k.M * k.K, StrideB: k.K * k.N, StrideC: k.M * k.N,
		TF32: x.b.options.TF32, Alpha: float32(x.scalar(scalar{0, 1}))}
	if !k.BF16 {
		return f, nil
	}
	f.Type = driver.BF16
	if f.A, err = x.gradientInBF16(a, rows, cols); err != nil {
		return f, err
	}
	f.B, err = x.inBF16(b)
	return f, err
}

// multiply computes a product without more, by cublasLt where it can.
func (b *Backend) multiply(f driver.Fused) error {
	done, err := b.byLt(f)
	if !done && err == nil {
		err = b.blas.Multiply(f.Product)
	}
	return err
}

// byLt multiplies by cublasLt, or reports false where there is none or it has no algorithm.
func (b *Backend) byLt(f driver.Fused) (bool, error) {
	if b.lt == nil {
		return false, nil
	}
	return b.lt.Multiply(f)
}
