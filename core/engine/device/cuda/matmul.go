//go:build clipcuda

package cuda

import (
	"math"

	"tandem/core/engine/device"
	"tandem/core/engine/device/cuda/driver"
	"tandem/core/fault"
)

// product holds how a MatMul is computed: by cublasLt with bias and residual in its epilogue, or by a product without
// them, of cublasLt or cuBLAS, and then one kernel of ours for all that follows it, when anything does (follow.go).
type product struct {
	device.MatMul
	rows, cols int // of MatMul.GradientShape, or 0
}

// The arguments of a MatMul.
const (
	leftArg, rightArg, biasArg, otherArg = arg(0), arg(1), arg(2), arg(3)
	resultArg, slopeArg                  = arg(4), arg(5)
	sumsArg                              = arg(5) // without a slope
)

func (b *Backend) matMulCode(k device.MatMul) (code, error) {
	if k.BF16 {
		if err := b.checkBF16(); err != nil {
			return code{}, err
		}
	}
	if k.RowSums && !b.Fuses(k) {
		return code{}, fault.New(fault.Unavailable, "row sums come with plain products in bfloat16, by cublasLt")
	}
	if max(k.Batch, k.M, k.N, k.K) > math.MaxInt32 {
		return code{}, fault.New(fault.Unavailable, "cuBLAS takes sizes up to %d", math.MaxInt32)
	}
	p, made := product{MatMul: k}, code{}
	var run launch
	if k.BF16 {
		p.rows, p.cols = k.GradientShape()
		made.rows, made.cols, made.halves = p.rows, p.cols, []arg{leftArg, rightArg}
		run.params = p.mayBeHalf()
	}
	run.call = p.multiply
	if k.Bias || k.Act != device.Identity || k.Slope || k.Residual || k.Gate {
		// Whether the launch is possible depends on the sizes alone.
		none := call{addr: make([]driver.Ptr, slopeArg+1), half: make([]bool, slopeArg+1)}
		if _, err := b.step(p.epilogue(&none, piece{rows: k.Batch * k.M})); err != nil {
			return code{}, err
		}
		if run.call = p.follow; k.BF16 {
			made.scratchOf = func(half []bool, _ []int) int {
				if half[resultArg] || p.Bias && half[biasArg] {
					return p.room()
				}
				return 0
			}
		}
	}
	if k.RowSums {
		sums := sumRowsCode(device.SumRows{Rows: k.K, Cols: k.M}, leftArg, sumsArg)
		made.scratch = sums.scratch
		run.call = func(x *call) error { return p.multiplyAndSum(x, sums) }
	}
	made.launches = []launch{run}
	return made, nil
}

// multiplyAndSum computes a MatMul with row sums. cublasLt sums operands as it reads them, in bfloat16; those that were rounded are
// summed as they were given.
func (p product) multiplyAndSum(x *call, sums code) error {
	f, err := x.operands(p.MatMul, leftArg, rightArg, p.rows, p.cols)
	if err != nil {
		return err
	}
	f.C, f.Result = x.at(resultArg), x.typeOf(resultArg)
	if x.half[leftArg] && !x.half[resultArg] && f.Alpha == 1 { // they have the type of the result
		both := f
		both.RowSums = x.at(sumsArg)
		if done, err := x.b.byLt(both); done || err != nil {
			return err
		}
	}
	if err := x.b.multiply(f); err != nil {
		return err
	}
	for _, l := range sums.launches {
		run := x.run
		if l.call != nil {
			run = func(l launch) error { return l.call(x) }
		}
		if err := run(l); err != nil {
			return err
		}
	}
	return nil
}

// mayBeHalf returns what else than operands may be bfloat16.
func (p product) mayBeHalf() []any {
	places := []any{isHalf(resultArg)}
	if p.Bias {
		places = append(places, isHalf(biasArg))
	}
	if p.Residual || p.Gate {
		places = append(places, isHalf(otherArg))
	}
	if p.Slope {
		places = append(places, isHalf(slopeArg))
	}
	return places
}

// multiply computes a MatMul that nothing follows.
func (p product) multiply(x *call) error {
	return x.multiply(p.MatMul, leftArg, rightArg, resultArg, p.rows, p.cols)
}

// multiply computes C = alpha·op(A)·op(B). rows and cols are those of MatMul.GradientShape, or 0.
func (x *call) multiply(k device.MatMul, a, b, c arg, rows, cols int) error {
	f, err := x.operands(k, a, b, rows, cols)
	if err != nil {
		return err
	}
	f.C, f.Result = x.at(c), x.typeOf(c)
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

// typeOf returns the type of an argument that a product writes.
func (x *call) typeOf(i arg) driver.DType {
	if x.half[i] {
		return driver.BF16
	}
	return driver.F32
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
