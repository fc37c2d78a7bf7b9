package mpi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sync"

	"tandem/core/experiment/collective"
	"tandem/core/fault"
)

// results are what the calls of a rank gave, as bits.
type results struct {
	bytes   [][]byte
	floats  [][]float32
	doubles [][]float64
	squares []float64
}

// equalsLocal is a rank that compares what it gets with what the goroutines of collective.Local get.
func equalsLocal(ctx context.Context) error {
	g, err := Open(ctx)
	if err != nil {
		return err
	}
	if err := panics(); err == nil {
		return errors.New("a panic was not caught")
	}
	sizes := []int{0, 1, 3, 1025, 20003}
	if os.Getenv(roleEnv) == "large" {
		sizes = []int{pieceBytes/4 + 12345}
	} else {
		pieceBytes = 1 << 16
	}
	for _, n := range sizes {
		before := g.Sent()
		got, err := callAll(ctx, g, n)
		if err != nil {
			return fmt.Errorf("%d values: %w", n, err)
		}
		if sent, want := g.Sent()-before, sentBy(g.Rank(), g.Size(), n); sent != want {
			return fmt.Errorf("%d values: rank %d sent %d bytes, want %d", n, g.Rank(), sent, want)
		}
		locals := collective.Local(g.Size())
		var want results
		var all sync.WaitGroup
		for r, l := range locals {
			all.Go(func() {
				if w, err := callAll(ctx, l, n); r == g.Rank() && err == nil {
					want = w
				}
			})
		}
		all.Wait()
		if err := same(got, want); err != nil {
			return fmt.Errorf("%d values: %w", n, err)
		}
		// The squares are sums in another order, but the same on all ranks.
		squares, err := g.Gather(ctx, fmt.Appendf(nil, "%x", math.Float64bits(got.squares[0])))
		if err != nil {
			return err
		}
		for _, s := range squares {
			if string(s) != string(squares[0]) {
				return fmt.Errorf("%d values: squares differ: %s", n, squares)
			}
		}
		if d := math.Abs(got.squares[0] - want.squares[0]); d > 1e-9*want.squares[0] {
			return fmt.Errorf("%d values: squares %v, want %v", n, got.squares[0], want.squares[0])
		}
	}
	return g.Close()
}

// panics reports a panic of Go. MPI's library, which handles signals of its own, must not end the process for it.
func panics() (err error) {
	defer fault.Catch(&err)
	var nothing *results
	nothing.squares[0]++
	return nil
}

// sample returns values of a rank that are nothing round.
func sample[T float32 | float64](rank, n int) []T {
	r := rand.New(rand.NewPCG(uint64(rank), uint64(n)))
	values := make([]T, n)
	const period = 4099
	for i := range min(period, n) { // random numbers take time
		values[i] = T(r.NormFloat64() * math.Exp(4*r.NormFloat64()))
	}
	for i := period; i < n; i += period {
		copy(values[i:], values[:period])
	}
	return values
}

// callAll makes every call with n values.
func callAll(ctx context.Context, g collective.Group, n int) (r results, err error) {
	check := func(e error) { err = errors.Join(err, e) }
	mine := sample[float32](g.Rank(), n)
	all := make([]float32, g.Size()*n)
	check(g.GatherFloats(ctx, mine, all))
	sums := slices.Clone(mine)
	squares, e := g.Sum(ctx, sums)
	check(e)
	share := make([]float32, n)
	check(g.SumShare(ctx, all, share))
	doubles := sample[float64](g.Rank(), n)
	check(g.SumDoubles(ctx, doubles))
	parts, e := g.Gather(ctx, bytesOf(mine)[:n+n*g.Rank()/g.Size()])
	check(e)
	said, e := g.Broadcast(ctx, bytesOf(mine))
	check(e)
	check(g.Barrier(ctx))
	return results{append(parts, said), [][]float32{all, sums, share}, [][]float64{doubles}, []float64{squares}}, err
}

// sentBy returns how many bytes a rank sends for what callAll does, by the formulas.
func sentBy(rank, size, n int) int64 {
	gathers := int64(size-1) * int64(4*n+8*n+n+n*rank/size) // values, doubles, bytes
	if rank == 0 {
		gathers += int64(size-1) * int64(4*n)
	}
	shares := int64(4 * (size - 1) * n)
	sums := int64(0)
	for o := 0; o < n; o += pieceBytes / 4 {
		m := min(n-o, pieceBytes/4)
		share := (rank+1)*m/size - rank*m/size
		sums += int64(4 * (m - share + (size-1)*share))
	}
	return gathers + shares + sums
}

// same compares bits.
func same(got, want results) error {
	for i := range want.bytes {
		if !slices.Equal(got.bytes[i], want.bytes[i]) {
			return fmt.Errorf("bytes %d of %d differ", i, len(want.bytes))
		}
	}
	for i := range want.floats {
		if !slices.EqualFunc(got.floats[i], want.floats[i], func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
			return fmt.Errorf("floats %d differ", i)
		}
	}
	for i := range want.doubles {
		if !slices.EqualFunc(got.doubles[i], want.doubles[i], func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }) {
			return fmt.Errorf("doubles %d differ", i)
		}
	}
	return nil
}
