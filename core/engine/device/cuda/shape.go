//go:build clipcuda

package cuda

// Launch shapes follow from the sizes of a kernel alone, never from the GPU: sums have the same order, and
// so the same bits, on each. most blocks fill the largest GPUs several times over; more would only start
// threads that have little to do.
const (
	threads = 256
	most    = 4096
)

// flat returns the shape of a kernel over n numbers: four for each thread, more when there are many.
func flat(n int) (grid, block dim) {
	return dim{x: min(ceil(n, 4*threads), most)}, dim{x: threads}
}

// plane returns the shape of a kernel over [rows, cols]. Threads along x have columns, four each where four
// divides them; those along y have rows. At most lanes threads share a column.
func plane(rows, cols, lanes int) (grid, block dim) {
	across := cols
	if cols%4 == 0 {
		across = cols / 4
	}
	grid.x = ceil(across, threads)
	block.x = ceil(across, grid.x)
	block.y = min(threads/block.x, rows, lanes)
	grid.y = max(min(ceil(rows, block.y), lanes/block.y, most/grid.x), 1)
	return grid, block
}

// teams returns the shape of a kernel where threads share a row (kernels/reduce.cuh): a warp for each row, eight in a
// block, where rows have up to a thousand numbers; else a block for each row.
func teams(rows, cols int) (grid, block dim) {
	switch {
	case cols <= 1024:
		return dim{x: ceil(rows, 8)}, dim{x: 32, y: 8}
	case cols <= 8192:
		return dim{x: rows}, dim{x: threads}
	}
	return dim{x: rows}, dim{x: 1024}
}

// start returns a launch of an entry with a shape and parameters in the entry's order.
func start(entry string, grid, block dim, params ...any) launch {
	return launch{entry: entry, grid: grid, block: block, params: params}
}

// run returns the code of launches without scratch.
func run(launches ...launch) (code, bool) { return code{launches: launches}, true }

// whenAligned returns a launch that does quick when all arguments of its first launch begin on sixteen bytes, which
// that kernel needs, else slow.
func whenAligned(quick, slow []launch) launch {
	return launch{params: quick[0].params, call: func(c *call) error {
		launches := quick
		for _, p := range quick[0].params {
			if i, ok := p.(arg); ok && c.at(i)%16 != 0 {
				launches = slow
			}
		}
		for _, l := range launches {
			if err := c.run(l); err != nil {
				return err
			}
		}
		return nil
	}}
}

// over returns a launch of a flat kernel of n numbers.
func over(n int, entry string, params ...any) launch {
	grid, block := flat(n)
	return start(entry, grid, block, params...)
}

// overPlane returns a launch of a kernel over a plane.
func overPlane(rows, cols int, entry string, params ...any) launch {
	grid, block := plane(rows, cols, most*threads)
	return start(entry, grid, block, params...)
}

// overTeams returns a launch of a kernel with a team for each row.
func overTeams(rows, cols int, entry string, params ...any) launch {
	grid, block := teams(rows, cols)
	return start(entry, grid, block, params...)
}

// scratch hands out the scratch of a code; its value counts the bytes that are taken.
type scratch int

func (s *scratch) take(bytes int) temp {
	at := *s
	*s += scratch(ceil(bytes, 256) * 256)
	return temp(at)
}
