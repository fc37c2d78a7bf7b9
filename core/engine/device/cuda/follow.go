//go:build clipcuda

package cuda

import (
	"tandem/core/engine/device"
	"tandem/core/engine/device/cuda/driver"
)

// pieceBytes bounds the scratch of a product whose results are all bfloat16: what follows it needs the sums in
// float32, so it is made in pieces of whole rows.
var pieceBytes = 64 << 20

// piece holds some rows of the result [Batch·M, N], and where the product lies in float32.
type piece struct {
	row, rows int
	from      driver.Ptr
	summed    bool // with bias and residual
}

// pieceRows returns how many rows a piece has: all of a batch, else no more than there is room for, a multiple of 128
// unless these are all.
func (p product) pieceRows() int {
	most := max(pieceBytes/(4*p.N)/128*128, 128)
	if p.Batch > 1 || p.M <= most {
		return p.Batch * p.M
	}
	pieces := ceil(p.M, most)
	return min(ceil(ceil(p.M, pieces), 128)*128, most)
}

// biasBytes returns the room for a bias in another type, which lies before the piece.
func (p product) biasBytes() int {
	if !p.Bias {
		return 0
	}
	return 256 * ceil(4*p.N, 256)
}

// room returns the bytes of scratch that results in bfloat16 need.
func (p product) room() int { return p.biasBytes() + 4*p.pieceRows()*p.N }

// sums reports whether nothing but sums follows the product: cublasLt has them.
func (p product) sums() bool { return p.Act == device.Identity && !p.Slope && !p.Gate }

// follow computes a MatMul with what follows the product.
func (p product) follow(x *call) error {
	f, err := x.operands(p.MatMul, leftArg, rightArg, p.rows, p.cols)
	if err != nil {
		return err
	}
	f.C, f.Result = x.at(resultArg), x.typeOf(resultArg)
	if p.sums() {
		if done, err := p.sum(x, f); done || err != nil {
			return err
		}
	}
	f.Result = driver.F32
	switch {
	case p.Slope && !x.half[slopeArg]: // c may be bfloat16, so the product goes where the slope will be
		f.C = x.at(slopeArg)
	case x.half[resultArg]:
		return p.inPieces(x, f)
	}
	if err := x.b.multiply(f); err != nil {
		return err
	}
	return x.run(p.epilogue(x, piece{rows: p.Batch * p.M, from: f.C}))
}

// sum computes the product with bias and residual in its epilogue, or reports false. Both have the type of the result
// there: a bias of float32 is rounded for a result in bfloat16, as PyTorch's autocast rounds it; what is bfloat16 for a result in
// float32 is converted.
func (p product) sum(x *call, f driver.Fused) (bool, error) {
	low := x.half[resultArg]
	if x.b.lt == nil || low && p.Residual && !x.half[otherArg] {
		return false, nil
	}
	if p.Residual {
		f.Residual, f.Beta = x.at(otherArg), 1
		if !low && x.half[otherArg] {
			if err := x.run(convert(f.Residual, f.C, p.Batch*p.M*p.N, true, false)); err != nil {
				return false, err
			}
			f.Residual = f.C
		}
	}
	if p.Bias {
		if f.Bias = x.at(biasArg); low != x.half[biasArg] {
			if err := x.run(convert(f.Bias, x.temp(0), p.N, x.half[biasArg], low)); err != nil {
				return false, err
			}
			f.Bias = x.temp(0)
		}
	}
	return x.b.byLt(f)
}

// inPieces computes a MatMul in bfloat16 whose sums go through float32 in scratch.
func (p product) inPieces(x *call, f driver.Fused) error {
	f.C = x.temp(temp(p.biasBytes()))
	left, rows := f.A, p.pieceRows()
	if f.TransA {
		f.LDA = p.M
	}
	for row := 0; row < p.Batch*p.M; row += rows {
		at := piece{row: row, rows: min(rows, p.Batch*p.M-row), from: f.C}
		if p.Batch == 1 {
			f.M, f.A = at.rows, left+driver.Ptr(2*row*p.K)
			if f.TransA {
				f.A = left + driver.Ptr(2*row)
			}
		}
		var err error
		if at.summed, err = p.sumPiece(x, f, at); err == nil && !at.summed {
			err = x.b.multiply(f)
		}
		if err == nil {
			err = x.run(p.epilogue(x, at))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sumPiece computes a piece with bias and residual where both are float32 and nothing else follows, or reports false.
func (p product) sumPiece(x *call, f driver.Fused, at piece) (bool, error) {
	if !p.sums() || p.Residual && x.half[otherArg] || p.Bias && x.half[biasArg] {
		return false, nil
	}
	if p.Residual {
		f.Residual, f.Beta = p.value(x, otherArg, at.row).at, 1
	}
	if p.Bias {
		f.Bias = x.at(biasArg)
	}
	return x.b.byLt(f)
}

// value holds where an argument is, and whether it is bfloat16.
type value struct {
	at   driver.Ptr
	half bool
}

// value returns a row of an argument whose rows are those of the result; at 0 when it is absent.
func (p product) value(x *call, i arg, row int) value {
	v := value{x.at(i), x.half[i]}
	switch {
	case v.at == 0:
	case v.half:
		v.at += driver.Ptr(2 * row * p.N)
	default:
		v.at += driver.Ptr(4 * row * p.N)
	}
	return v
}

// epilogue returns the launch that follows the product of a piece.
func (p product) epilogue(x *call, at piece) launch {
	other, combine := p.value(x, otherArg, at.row), combineNothing
	switch {
	case at.summed:
	case p.Residual:
		combine = combineAdds
	case p.Gate:
		combine = combineMultiplies
	}
	bias := value{}
	if p.Bias && !at.summed {
		bias = p.value(x, biasArg, 0)
	}
	to, slope := p.value(x, resultArg, at.row), value{}
	if p.Slope {
		slope = p.value(x, slopeArg, at.row)
	}
	return overPlane(at.rows, p.N, "epilogue", at.from, bias.at, other.at, to.at, slope.at, at.rows, p.N, int(p.Act), combine,
		bit(bias.half), bit(other.half), bit(to.half), bit(slope.half))
}
