package devicetest

import (
	"fmt"
	"math"
	"math/rand/v2"

	"tandem/core/engine/device"
)

// ids are in the range of the kernel's table, or lengths.
func ids(rng *rand.Rand, k device.Kernel, arg device.Arg) []int32 {
	top, n := 1, arg.Len
	if arg.Name == "starts" { // sequences of 1, 2, … up to the longest, and 1 again
		longest := 0
		switch k := k.(type) {
		case device.Attention:
			longest = k.Tq
		case device.AttentionBack:
			longest = k.Tq
		case device.AttentionAt:
			longest = k.T
		case device.AttentionAtBack:
			longest = k.T
		}
		x := make([]int32, n)
		for i := range n - 1 {
			x[i+1] = x[i] + int32(1+i%longest)
		}
		return x
	}
	places := func(t, rows int) []int32 { // one in each sequence of t, or the first of each of starts
		if rows > 0 {
			return ids(rng, k, device.Arg{Name: "starts", Len: n})
		}
		x := make([]int32, n)
		for i := range x {
			x[i] = int32(i*t + rng.IntN(t))
		}
		return x
	}
	switch k := k.(type) {
	case device.AttentionAt:
		return places(k.T, k.Rows)
	case device.AttentionAtBack:
		return places(k.T, k.Rows)
	case device.Gather:
		top = k.Rows
	case device.GatherBack:
		top = k.Rows
	case device.CrossEntropy:
		top = k.Cols
	case device.CrossEntropyBack:
		top = k.Cols
	case device.MeanTokens:
		top = k.T + 2
	case device.MeanTokensBack:
		top = k.T + 2
	}
	x := make([]int32, n)
	for i := range x {
		x[i] = int32(rng.IntN(top))
	}
	return x
}

// Inputs are values for every argument of a kernel, outputs included (some kernels add to them), the same
// for each backend: []float32, []uint8 or []int32, nil where the argument is absent. Reals are normal
// numbers, variances positive; indices are in range, sequences of lengths from 1 to the longest.
func Inputs(k device.Kernel, want []device.Arg) []any {
	rng := rand.New(rand.NewPCG(11, uint64(len(fmt.Sprint(k)))))
	list := make([]any, len(want))
	for i, arg := range want {
		switch {
		case arg.Absent:
		case arg.DType == device.U8:
			x := make([]uint8, arg.Len)
			for j := range x {
				x[j] = uint8(rng.IntN(256))
			}
			list[i] = x
		case arg.DType == device.I32:
			list[i] = ids(rng, k, arg)
		default:
			x := make([]float32, arg.Len)
			for j := range x {
				x[j] = float32(rng.NormFloat64())
				// Variances are positive.
				if arg.Name == "stats" && !arg.Out || arg.Name == "v" {
					x[j] = float32(math.Abs(float64(x[j]))) + .1
				}
			}
			list[i] = x
		}
	}
	return list
}
