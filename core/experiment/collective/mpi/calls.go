package mpi

import (
	"context"
	"unsafe"

	"tandem/core/fault"
)

// do does what run does with a call that returns nothing.
func (g *group) do(ctx context.Context, call func() error) error {
	_, err := run(ctx, g, func() (struct{}, error) { return struct{}{}, call() })
	return err
}

// bytesOf returns the bytes of values.
func bytesOf[T float32 | float64](values []T) []byte {
	var one T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), len(values)*int(unsafe.Sizeof(one)))
}

// few returns data if it is little enough to go with a greeting.
func few(data []byte) []byte {
	if len(data) > inline {
		return nil
	}
	return data
}

// Barrier implements collective.Group.
func (g *group) Barrier(ctx context.Context) error {
	_, err := run(ctx, g, func() ([]greeting, error) { return g.meet(waits, 0, true, nil) })
	return err
}

// Gather implements collective.Group. A rank gives len(mine) bytes to each of the others.
func (g *group) Gather(ctx context.Context, mine []byte) ([][]byte, error) {
	return run(ctx, g, func() ([][]byte, error) { return g.gather(gathers, mine) })
}

// Broadcast implements collective.Group. Rank 0 gives len(data) bytes to each of the others.
func (g *group) Broadcast(ctx context.Context, data []byte) ([]byte, error) {
	if g.rank != 0 {
		data = nil
	}
	all, err := run(ctx, g, func() ([][]byte, error) { return g.gather(broadcasts, data) })
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// gather returns what every rank gave.
func (g *group) gather(c call, mine []byte) ([][]byte, error) {
	greetings, err := g.meet(c, int64(len(mine)), false, few(mine))
	if err != nil {
		return nil, err
	}
	all := make([][]byte, g.size)
	longest, at := int64(0), make([]int64, g.size+1)
	for r, said := range greetings {
		longest = max(longest, said.length)
		at[r+1] = at[r] + said.length
	}
	whole := make([]byte, at[g.size])
	for r := range all {
		all[r] = whole[at[r]:at[r+1]:at[r+1]]
	}
	if longest <= inline {
		for r, said := range greetings {
			copy(all[r], said.few)
		}
		g.sent.Add(int64(g.size-1) * int64(len(mine)))
		return all, nil
	}
	copy(all[g.rank], mine)
	for o := int64(0); o < longest; o += int64(pieceBytes) {
		for r, said := range greetings {
			g.to[r] = part{o, min(max(int64(len(mine))-o, 0), int64(pieceBytes))}
			g.from[r] = part{at[r] + o, min(max(said.length-o, 0), int64(pieceBytes))}
		}
		if err := g.pass(mine, whole); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// GatherFloats implements collective.Group. A rank gives len(mine) values to each of the others.
func (g *group) GatherFloats(ctx context.Context, mine, all []float32) error {
	if len(all) != g.size*len(mine) {
		return fault.New(fault.Internal, "%d ranks gather %d values each into %d", g.size, len(mine), len(all))
	}
	return g.do(ctx, func() error {
		whole := int64(4 * len(mine))
		if _, err := g.meet(gathersValues, whole, true, nil); err != nil {
			return err
		}
		copy(all[g.rank*len(mine):], mine)
		for o := int64(0); o < whole; o += int64(pieceBytes) {
			n := min(whole-o, int64(pieceBytes))
			for r := range g.size {
				g.to[r] = part{o, n}
				g.from[r] = part{int64(r)*whole + o, n}
			}
			if err := g.pass(bytesOf(mine), bytesOf(all)); err != nil {
				return err
			}
		}
		return nil
	})
}

// room returns n values of room for what others have.
func (g *group) room(n int) []float32 {
	if cap(g.others) < n {
		g.others = make([]float32, n)
	}
	return g.others[:n]
}

// Sum implements collective.Group. Of values that the ranks can share equally, a rank gives 2·(Size−1)/Size to others: its values of
// their shares, and the sums of its own.
func (g *group) Sum(ctx context.Context, values []float32) (squares float64, err error) {
	return run(ctx, g, func() (float64, error) {
		greetings, err := g.meetAt(g.memory.find(g.rank, values), addsUp, int64(4*len(values)), true, nil)
		if err != nil {
			return 0, err
		}
		addresses := g.memory.addresses(greetings, 4*len(values))
		mine := 0.0
		if addresses != nil {
			if mine, err = g.sumInMemory(addresses, len(values), g.unusable); err != nil {
				return 0, err
			}
			return g.sumSquares(mine)
		}
		for o := 0; o < len(values); o += pieceBytes / 4 {
			squares, err := g.sumPiece(values[o:min(o+pieceBytes/4, len(values))])
			if err != nil {
				return 0, err
			}
			mine += squares
		}
		return g.sumSquares(mine)
	})
}

// share returns where a rank's share of n values is.
func (g *group) share(rank, n int) part {
	from, to := rank*n/g.size, (rank+1)*n/g.size
	return part{int64(4 * from), int64(4 * (to - from))}
}

// sumInMemory adds up this rank's shares of n values in the memory of all ranks, piece by piece, and returns their squares. No rank touches
// the share of another, so that the ranks need to meet only before the first piece and after the last. It asks before each piece whether
// the call was stopped, and returns why: the owner of the memory may take it away soon after.
func (g *group) sumInMemory(addresses []uintptr, n int, stopped func() error) (squares float64, err error) {
	at := make([]uintptr, g.size)
	for o := 0; o < n; o += pieceBytes / 4 {
		if err := stopped(); err != nil {
			return 0, err
		}
		piece := min(pieceBytes/4, n-o)
		mine := g.share(g.rank, piece)
		for r, a := range addresses {
			at[r] = a + uintptr(4*o) + uintptr(mine.offset)
		}
		g.sent.Add(int64(4*piece) - mine.length + int64(g.size-1)*mine.length)
		squares += addUpInPlace(at, int(mine.length/4))
	}
	return squares, nil
}

// sumPiece adds up a piece and returns the squares of this rank's share.
func (g *group) sumPiece(values []float32) (float64, error) {
	mine := g.share(g.rank, len(values))
	n := int(mine.length / 4)
	others := g.room(g.size * n)
	for r := range g.size {
		g.to[r] = g.share(r, len(values))
		g.from[r] = part{int64(4 * r * n), mine.length}
	}
	if err := g.pass(bytesOf(values), bytesOf(others)); err != nil {
		return 0, err
	}
	own := values[mine.offset/4:][:n]
	squares := addUp(own, g.rank, g.size, others)
	for r := range g.size {
		g.to[r] = mine
		g.from[r] = g.share(r, len(values))
	}
	return squares, g.pass(bytesOf(values), bytesOf(values))
}

// sumSquares adds up the squares of all ranks' shares, which count as no payload.
func (g *group) sumSquares(mine float64) (sum float64, err error) {
	all := make([]float64, g.size)
	for r := range g.size {
		g.to[r] = part{0, 8}
		g.from[r] = part{int64(8 * r), 8}
	}
	if err := g.exchange(bytesOf([]float64{mine}), bytesOf(all), false); err != nil {
		return 0, err
	}
	all[g.rank] = mine
	for _, s := range all {
		sum += s
	}
	return sum, nil
}

// SumShare implements collective.Group. A rank gives the others len(values)−len(mine) values.
func (g *group) SumShare(ctx context.Context, values, mine []float32) error {
	if len(values) != g.size*len(mine) {
		return fault.New(fault.Internal, "%d ranks share the sums of %d values and take %d each", g.size, len(values), len(mine))
	}
	return g.do(ctx, func() error {
		if _, err := g.meet(addsUpShares, int64(4*len(values)), true, nil); err != nil {
			return err
		}
		most := pieceBytes / 4 / g.size
		for o := 0; o < len(mine); o += most {
			n := min(most, len(mine)-o)
			others := g.room(g.size * n)
			for r := range g.size {
				g.to[r] = part{int64(4 * (r*len(mine) + o)), int64(4 * n)}
				g.from[r] = part{int64(4 * r * n), int64(4 * n)}
			}
			if err := g.pass(bytesOf(values), bytesOf(others)); err != nil {
				return err
			}
			sums := mine[o : o+n]
			copy(sums, values[g.rank*len(mine)+o:])
			addUp(sums, g.rank, g.size, others)
		}
		return nil
	})
}

// SumDoubles implements collective.Group, for few values: a rank gives all of its values to each of the others.
func (g *group) SumDoubles(ctx context.Context, values []float64) error {
	return g.do(ctx, func() error {
		mine := bytesOf(values)
		greetings, err := g.meet(addsUpDoubles, int64(len(mine)), true, few(mine))
		if err != nil {
			return err
		}
		if len(mine) <= inline {
			g.sent.Add(int64(g.size-1) * int64(len(mine)))
			others := make([]float64, g.size*len(values))
			for r, said := range greetings {
				copy(bytesOf(others[r*len(values):]), said.few)
			}
			addDoubles(values, g.rank, g.size, others)
			return nil
		}
		most := pieceBytes / 8 / g.size
		others := make([]float64, g.size*min(most, len(values)))
		for o := 0; o < len(values); o += most {
			own := values[o:min(o+most, len(values))]
			n := int64(8 * len(own))
			for r := range g.size {
				g.to[r] = part{0, n}
				g.from[r] = part{int64(r) * n, n}
			}
			if err := g.pass(bytesOf(own), bytesOf(others)); err != nil {
				return err
			}
			addDoubles(own, g.rank, g.size, others)
		}
		return nil
	})
}

// addDoubles writes the sums of what the ranks have into own, in their order. Rank r has len(own) values at r·len(own) of others, but
// this rank has own.
func addDoubles(own []float64, rank, size int, others []float64) {
	copy(others[rank*len(own):], own)
	copy(own, others)
	for r := 1; r < size; r++ {
		for k, v := range others[r*len(own):][:len(own)] {
			own[k] += v
		}
	}
}
