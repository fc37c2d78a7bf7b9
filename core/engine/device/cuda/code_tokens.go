//go:build clipcuda

package cuda

import (
	"math/bits"

	"tandem/core/engine/device"
)

// tokensCode launches the kernels of tokens.cu and gather_back.cu.
func tokensCode(kernel device.Kernel) (code, bool) {
	switch k := kernel.(type) {
	case device.Gather:
		return run(overPlane(k.N, k.Cols, "gather", arg(0), arg(1), arg(2), k.Rows, k.N, k.Cols, isHalf(0), isHalf(2)))
	case device.GatherBack:
		return gatherBackCode(k), true
	case device.Concat:
		na, nc := k.TA*k.W, k.TC*k.W
		pitch := na
		if k.BroadcastA {
			pitch = 0
		}
		return run(overPlane(k.B, na+nc, "concat", arg(0), arg(1), arg(2), k.B, na, nc, pitch, isHalf(0), isHalf(1), isHalf(2)))
	case device.Slice:
		return run(overPlane(k.B, k.N*k.W, "slice", arg(0), arg(1), k.B, k.T*k.W, k.From*k.W, k.N*k.W, isHalf(0), isHalf(1)))
	case device.SliceBack:
		return run(overPlane(k.B, k.T*k.W, "slice_back", arg(0), arg(1), k.B, k.T*k.W, k.From*k.W, k.N*k.W, isHalf(0), isHalf(1)))
	case device.MeanTokens:
		return run(overPlane(k.B, k.W, "mean_tokens", arg(0), arg(1), arg(2), k.B, k.T, k.W, isHalf(0), isHalf(2)))
	case device.MeanTokensBack:
		return run(overPlane(k.B, k.W, "mean_tokens_back", arg(0), arg(1), arg(2), k.B, k.T, k.W, isHalf(0), isHalf(2)))
	case device.Transpose:
		if k.M == 1 || k.N == 1 { // the same numbers in the same order
			n := k.B * k.M * k.N
			return run(overPlane(1, n, "slice", arg(0), arg(1), 1, n, 0, n, isHalf(0), isHalf(1)))
		}
		const tile, highest = 32, 65535
		grid := dim{x: ceil(k.N, tile), y: min(ceil(k.M, tile), highest)}
		grid.z = min(k.B, max(most/(grid.x*grid.y), 1))
		return run(start("transpose", grid, dim{x: tile, y: threads / tile}, arg(0), arg(1), k.B, k.M, k.N, isHalf(0), isHalf(1)))
	case device.Patchify:
		// Threads along x are pixels of a line: a power of two of them, so that few have none.
		across := 1
		for across < min(k.P, 32) {
			across *= 2
		}
		patches := k.B * (k.H / k.P) * (k.W / k.P)
		return run(start("patchify", dim{x: patches}, dim{x: across, y: threads / across},
			arg(0), arg(1), k.H, k.W, k.C, k.P, isHalf(1)))
	}
	return code{}, false
}

// gatherBackCode zeroes the table and adds rows to it as gather_back.cu says.
func gatherBackCode(k device.GatherBack) code {
	const (
		few   = 4096 // up to so many ids, looking through all is faster than to sort
		tile  = 1024 // places that a block sorts
		piece = 128  // sorted places that a block sums
	)
	const ids, dy, dtable = arg(0), arg(1), arg(2)
	across := dim{x: min(32*ceil(k.Cols, 4*32), threads)} // a warp at least, a quad a thread if possible
	zero := over(k.Rows*k.Cols, "zero", dtable, k.Rows*k.Cols, isHalf(dtable))
	if k.N <= few {
		return code{launches: []launch{zero,
			start("gather_back_few", dim{x: k.N}, across, ids, dy, dtable, k.Rows, k.N, k.Cols, isHalf(dy), isHalf(dtable))}}
	}
	var room scratch
	tiles, pieces := ceil(k.N, tile), ceil(k.N, piece)
	from, to, counts, edges := room.take(8*k.N), room.take(8*k.N), room.take(4*256*tiles), room.take(4*2*k.Cols*pieces)
	launches := []launch{zero}
	var first any = ids // read by the first pass only
	for shift := 0; shift < bits.Len(uint(k.Rows)); shift += 8 {
		launches = append(launches,
			start("sort_count", dim{x: tiles}, dim{x: threads}, first, from, counts, k.N, k.Rows, shift),
			start("sort_scan", dim{}, dim{x: 1024}, counts, 256*tiles),
			start("sort_place", dim{x: tiles}, dim{x: threads}, first, from, counts, to, k.N, k.Rows, shift))
		from, to, first = to, from, nil
	}
	launches = append(launches,
		start("gather_back_sum", dim{x: pieces}, across, from, dy, dtable, edges, k.Rows, k.N, k.Cols, isHalf(dy), isHalf(dtable)),
		start("gather_back_join", dim{x: pieces}, across, from, edges, dtable, k.Rows, k.N, k.Cols, isHalf(dtable)))
	return code{scratch: int(room), launches: launches}
}
