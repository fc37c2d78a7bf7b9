//go:build clipcuda

package cuda

import "tandem/core/engine/device"

// mapsCode launches pooling (kernels/maps.cu) and batch norm (kernels/batchnorm.cu). Blocks have at most 256 threads with four
// channels each.
func mapsCode(kernel device.Kernel) (code, bool) {
	switch k := kernel.(type) {
	case device.AvgPool:
		oh, ow := k.OutSize()
		return pool("avg_pool", k.B*oh, ow, k.C, arg(0), arg(1), k.H, k.W, k.C, k.Size, k.Stride, oh, ow, isHalf(0), isHalf(1)), true
	case device.AvgPoolBack:
		oh, ow := k.OutSize()
		return pool("avg_pool_back", k.B*k.H, k.W, k.C, arg(0), arg(1), k.H, k.W, k.C, k.Size, k.Stride, oh, ow, isHalf(0), isHalf(1)), true
	case device.MaxPool:
		oh, ow := k.OutSize()
		return pool("max_pool", k.B*oh, ow, k.C, arg(0), arg(1), k.H, k.W, k.C, k.Size, k.Stride, k.Pad, oh, ow, isHalf(0), isHalf(1)), true
	case device.MaxPoolBack:
		oh, ow := k.OutSize()
		return pool("max_pool_back", k.B*k.H, k.W, k.C, arg(0), arg(1), arg(2), k.H, k.W, k.C, k.Size, k.Stride, k.Pad, oh, ow,
			isHalf(0), isHalf(1), isHalf(2)), true
	case device.BatchStats:
		g := gridOf(k.Rows, k.C, sumRows)
		return code{scratch: g.chunks() * 2 * k.C * 4, launches: []launch{
			g.launch("batch_stats_parts", arg(0), temp(0), k.Rows, k.C, g.chunk, isHalf(0)),
			totals("batch_stats_total", k.C, temp(0), arg(1), k.Rows, k.C, g.chunk),
		}}, true
	case device.BatchNorm:
		g := gridOf(k.Rows, k.C, mapRows)
		added := any(0)
		if k.Residual {
			added = isHalf(4)
		}
		return code{launches: []launch{
			g.launch("batch_norm", arg(0), arg(1), arg(2), arg(3), arg(4), arg(5), k.Rows, k.C, g.chunk, bit(k.Act == device.ReLU), k.Eps,
				isHalf(0), added, isHalf(5)),
		}}, true
	case device.BatchNormBack:
		return batchNormBack(k), true
	case device.RunningStats:
		return code{launches: []launch{{entry: "running_stats", grid: dim{x: ceil(k.C, 256)}, block: dim{x: 256},
			params: []any{arg(0), arg(1), arg(2), k.Rows, k.C, k.Momentum}}}}, true
	}
	return code{}, false
}

// pool launches a kernel over the map that is written: the grid has its rows by groups of 256 threads, which
// share the columns and channels of a row.
func pool(entry string, rows, columns, channels int, params ...any) code {
	threads := columns * ceil(channels, 4)
	block := min(256, 32*ceil(threads, 32))
	grid := dim{x: rows, y: min(ceil(threads, block), 65535)}
	return code{launches: []launch{{entry: entry, grid: grid, block: dim{x: block}, params: params}}}
}

func batchNormBack(k device.BatchNormBack) code {
	sums, dx := gridOf(k.Rows, k.C, sumRows), gridOf(k.Rows, k.C, mapRows)
	coefficients := temp(256 * ceil(sums.chunks()*2*k.C*4, 256))
	relu := bit(k.Act == device.ReLU)
	var y, dresidual, halfY, halfResidual any = 0, 0, 0, 0
	if k.Residual { // the mask is that of y
		relu, y, dresidual, halfY, halfResidual = 0, arg(4), arg(9), isHalf(4), isHalf(9)
	}
	return code{scratch: int(coefficients) + 3*k.C*4, launches: []launch{
		sums.launch("batch_norm_back_parts", arg(0), arg(1), arg(2), arg(3), y, arg(5), temp(0), dresidual, k.Rows, k.C, sums.chunk,
			relu, k.Eps, isHalf(0), halfY, isHalf(5), halfResidual),
		totals("batch_norm_back_total", k.C, temp(0), arg(1), arg(2), arg(7), arg(8), coefficients, k.Rows, k.C, sums.chunks(),
			bit(k.Training), k.Eps),
		dx.launch("batch_norm_back", arg(0), arg(1), arg(2), arg(3), y, arg(5), dresidual, coefficients, arg(6), k.Rows, k.C, dx.chunk,
			relu, k.Eps, isHalf(0), halfY, isHalf(5), halfResidual, isHalf(6)),
	}}
}

// columnGrid cuts [rows, channels]: threads in x have four channels each, blocks in y a chunk of the rows.
type columnGrid struct {
	rows, channels, chunk int
	block                 dim
}

// The least rows for one thread of a block: sums should be few, elementwise work should fill the GPU.
const (
	sumRows = 16
	mapRows = 8
)

// gridOf cuts rows into chunks, no more than fill any GPU: about 1000 blocks of 256 threads. The cut depends on
// the sizes alone, and so do the bits of sums.
func gridOf(rows, channels, perThread int) columnGrid {
	x := 1
	for x < 32 && x < ceil(channels, 4) {
		x *= 2
	}
	g := columnGrid{rows: rows, channels: channels, block: dim{x: x, y: 256 / x}}
	chunks := ceil(1024, ceil(channels, 4*x))
	g.chunk = max(perThread*g.block.y, ceil(rows, chunks))
	return g
}

func (g columnGrid) chunks() int { return ceil(g.rows, g.chunk) }

func (g columnGrid) launch(entry string, params ...any) launch {
	return launch{entry: entry, grid: dim{x: ceil(g.channels, 4*g.block.x), y: g.chunks()}, block: g.block, params: params}
}

// totals adds up what the chunks gave: 32 channels a block, eight threads each.
func totals(entry string, channels int, params ...any) launch {
	return launch{entry: entry, grid: dim{x: ceil(channels, 32)}, block: dim{x: 32, y: 8}, params: params}
}
