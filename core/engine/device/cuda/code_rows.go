//go:build clipcuda

package cuda

import (
	"fmt"

	"tandem/core/engine/device"
)

// rowsCode launches the kernels of rows.cu and norm.cu.
func rowsCode(kernel device.Kernel) (code, bool) {
	switch k := kernel.(type) {
	case device.SumRows:
		return sumRowsCode(k, 0, 1), true
	case device.SumCols:
		return sumColsCode(k), true
	case device.LayerNorm:
		anyRow := overTeams(k.Rows, k.Cols, "layer_norm_any", arg(0), arg(1), arg(2), arg(3), k.Rows, k.Cols, k.Eps, isHalf(0), isHalf(3))
		if width, fits := normWidth(k.Cols); fits {
			inRegisters := anyRow
			inRegisters.entry = fmt.Sprint("layer_norm_", width)
			inRegisters.grid, inRegisters.block = dim{x: ceil(k.Rows, 8)}, dim{x: 32, y: 8}
			return run(whenAligned([]launch{inRegisters}, []launch{anyRow}))
		}
		return run(anyRow)
	case device.LayerNormBack:
		return layerNormBackCode(k), true
	case device.L2Norm:
		return run(overTeams(k.Rows, k.Cols, "l2_norm", arg(0), arg(1), k.Rows, k.Cols, k.Eps))
	case device.L2NormBack:
		return run(overTeams(k.Rows, k.Cols, "l2_norm_back", arg(0), arg(1), arg(2), k.Rows, k.Cols, k.Eps))
	case device.CrossEntropy:
		return run(overTeams(k.Rows, k.Cols, "cross_entropy", arg(0), arg(1), arg(2), k.Rows, k.Cols, k.Smooth))
	case device.CrossEntropyBack:
		return run(overTeams(k.Rows, k.Cols, "cross_entropy_back", arg(0), arg(1), arg(2), arg(3), k.Rows, k.Cols, k.Smooth))
	}
	return code{}, false
}

// addRows returns a launch of out = Σ parts [rows, cols]. Unless more is nil, the second half of the columns goes there.
func addRows(rows, cols int, parts, out, more any) launch {
	return start("add_rows", dim{x: ceil(cols, 32)}, dim{x: 32, y: 8}, parts, out, more, rows, cols, 0)
}

// sumParts returns a launch of out [rows] = Σ parts [rows, n], where parts are doubles.
func sumParts(rows, n int, parts, out any) launch {
	return start("sum_parts", dim{x: rows}, dim{x: threads}, parts, out, n)
}

// lanesOver returns how many lanes share the rows of a sum over rows: threads enough for the largest GPU, but
// at least eight rows for each, so that the lanes' sums are a small part of what is read.
func lanesOver(rows, cols int) int { return max(min(4*threads*256/cols, ceil(rows, 8), 2048), 1) }

// rowSums returns the launch whose lanes sum the rows of x into parts [lanes, cols]; halfX says whether x is bfloat16. Unless
// half is nil, it also leaves x there in bfloat16. Few rows, or a single lane, are not worth a second launch: lanes is 0 then.
func rowSums(rows, cols int, x, half, parts, halfX any) (l launch, lanes int) {
	grid, block := plane(rows, cols, lanesOver(rows, cols))
	if lanes = grid.y * block.y; rows <= 128 || lanes == 1 {
		lanes = 0
	}
	return start("sum_rows", grid, block, x, half, parts, rows, cols, halfX), lanes
}

// sumRowsCode sums the rows of one argument into another.
func sumRowsCode(k device.SumRows, from, to arg) code {
	sum, lanes := rowSums(k.Rows, k.Cols, from, nil, temp(0), isHalf(from))
	switch {
	case lanes > 0:
		return code{scratch: 4 * lanes * k.Cols, launches: []launch{{params: sum.params, call: func(c *call) error {
			return c.sumRows(k, from, to, sum, lanes)
		}}}}
	case k.Rows <= 128 && k.Rows > 8:
		few := addRows(k.Rows, k.Cols, from, to, nil)
		few.params[len(few.params)-1] = isHalf(from)
		return code{launches: []launch{few}}
	}
	sum, _ = rowSums(k.Rows, k.Cols, from, nil, to, isHalf(from)) // one lane: its sums are the result
	return code{launches: []launch{sum}}
}

// sumRows uses the sums that were made when x was rounded to bfloat16 for products, if it was.
func (c *call) sumRows(k device.SumRows, from, to arg, sum launch, lanes int) error {
	var parts any = temp(0)
	if at := c.b.halves.sums(c.at(from), k.Rows, k.Cols); at != 0 && !c.half[from] {
		parts = at
	} else if err := c.run(sum); err != nil {
		return err
	}
	return c.run(addRows(lanes, k.Cols, parts, to, nil))
}

// sumColsCode gives each row a team, or several blocks where rows are few and long, as in a sum of all elements.
func sumColsCode(k device.SumCols) code {
	if k.Rows >= 256 || k.Cols <= 8192 {
		return code{launches: []launch{overTeams(k.Rows, k.Cols, "sum_cols", arg(0), arg(1), k.Rows, k.Cols)}}
	}
	blocks := min(ceil(k.Cols, 8*threads), ceil(1024, k.Rows))
	return code{scratch: 8 * k.Rows * blocks, launches: []launch{
		start("sum_cols_parts", dim{x: blocks, y: k.Rows}, dim{x: threads}, arg(0), temp(0), k.Cols),
		sumParts(k.Rows, blocks, temp(0), arg(1)),
	}}
}

// normWidth returns the K of the kernel layer_norm_K that holds rows of so many columns in registers: up to 128·K, in
// whole quads. There are kernels for the widths of CLIP's towers; false for other rows.
func normWidth(cols int) (int, bool) {
	for _, k := range []int{2, 3, 4, 6, 8, 10} {
		if cols <= 128*k && cols%4 == 0 {
			return k, true
		}
	}
	return 0, false
}

// layerNormBackCode reads x and dy once, where a row fits registers; else once for dx and once for dγ and dβ.
func layerNormBackCode(k device.LayerNormBack) code {
	const x, gamma, dy = arg(0), arg(1), arg(2)
	dx, residual, flags := arg(3), any(nil), []any{isHalf(0), isHalf(2), 0, isHalf(3)}
	if k.Residual {
		dx, residual, flags = arg(4), arg(3), []any{isHalf(0), isHalf(2), isHalf(3), isHalf(4)}
	}
	dgamma, dbeta := dx+1, dx+2
	lanes := lanesOver(k.Rows, k.Cols)
	var room scratch
	stats, parts := room.take(4*2*k.Rows), room.take(4*2*k.Cols*lanes)
	anyRow := []launch{
		overTeams(k.Rows, k.Cols, "layer_norm_back_any", append([]any{x, gamma, dy, residual, dx, stats, k.Rows, k.Cols, k.Eps}, flags...)...),
		start("layer_norm_params_any", dim{x: ceil(k.Cols, threads), y: lanes}, dim{x: threads}, x, dy, stats, parts, k.Rows, k.Cols, isHalf(0), isHalf(2)),
		addRows(lanes, 2*k.Cols, parts, dgamma, dbeta),
	}
	width, fits := normWidth(k.Cols)
	if !fits {
		return code{scratch: int(room), launches: anyRow}
	}
	// Four warps a block with eight rows each, but no more blocks than the sums of dγ and dβ are worth.
	blocks := min(ceil(k.Rows, 32), 1024)
	inRegisters := []launch{
		start(fmt.Sprint("layer_norm_back_", width), dim{x: blocks}, dim{x: 32, y: 4},
			append([]any{x, gamma, dy, residual, dx, temp(0), k.Rows, k.Cols, k.Eps}, flags...)...),
		addRows(blocks, 2*k.Cols, temp(0), dgamma, dbeta),
	}
	return code{scratch: max(int(room), 4*2*k.Cols*blocks), launches: []launch{whenAligned(inRegisters, anyRow)}}
}
