package devicetest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"tandem/core/engine/device"
)

// indices draws values for an argument of integers by what it chooses from (device.Arg.Range).
func indices(rng *rand.Rand, all []device.Arg, arg device.Arg) []int32 {
	x := make([]int32, arg.Len)
	ofDifferentLengths := slices.ContainsFunc(all, func(a device.Arg) bool { return a.Name == "starts" })
	switch {
	case arg.Name == "starts", arg.Name == "rows" && ofDifferentLengths:
		// Sequences of 1, 2, … up to the longest, and 1 again; of each the first row.
		for i := range len(x) - 1 {
			x[i+1] = x[i] + int32(1+i%arg.Range)
		}
	case arg.Name == "rows": // any one of each sequence
		for i := range x {
			x[i] = int32(i*arg.Range + rng.IntN(arg.Range))
		}
	default:
		limit := arg.Range
		if arg.Name == "lengths" {
			limit += 2 // none, all, and more than there are
		}
		for i := range x {
			x[i] = int32(rng.IntN(limit))
		}
	}
	return x
}

// Inputs makes values for every argument of a kernel, outputs included (some kernels add to them): []float32,
// []uint8 or []int32, nil where the argument is absent. They are the same for each backend. Reals are normal
// numbers, variances positive; indices are in range, sequences have lengths from 1 to the longest.
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
			list[i] = indices(rng, want, arg)
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
