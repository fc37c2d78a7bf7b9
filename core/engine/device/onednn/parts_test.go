//go:build onednn

package onednn

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/core/engine/device"
)

// A step of an optimiser has the same bits whether it is made at once or in parts, with gradients that the host has elsewhere.
func TestStepsInPartsHaveTheSameBits(t *testing.T) {
	const n = 5000
	everyISA(t, 2, func(t *testing.T, b device.Backend) {
		draw := rand.New(rand.NewPCG(3, 4))
		random := func() (values []float32) {
			for range n {
				values = append(values, draw.Float32())
			}
			return values
		}
		for _, kernel := range []func(n int) device.Kernel{
			func(n int) device.Kernel { return device.AdamW{N: n, Beta1: .9, Beta2: .98, Eps: 1e-6} },
			func(n int) device.Kernel { return device.SGD{N: n, Momentum: .9} },
			func(n int) device.Kernel { return device.Lion{N: n, Beta1: .9, Beta2: .99} },
		} {
			g, state := random(), [][]float32{random(), random(), random()}
			step := func(cuts ...int) (results [][]float32) {
				var args []device.Buffer
				moments := len(describe(t, kernel(n))) - 2
				for _, values := range state[:1+moments] {
					args = append(args, put(t, b, values))
				}
				for i := range cuts[1:] {
					lo, hi := cuts[i], cuts[i+1]
					part := []device.Buffer{b.(device.HostViewer).ViewHost(slices.Clone(g[lo:hi]))}
					for _, whole := range args {
						part = append(part, b.View(whole, lo, hi-lo))
					}
					exec, err := b.Prepare(kernel(hi - lo))
					if err != nil {
						t.Fatal(err)
					}
					scalars := []float64{1e-2, .2, .5, 3}
					if moments < 2 {
						scalars = scalars[:3]
					}
					exec.Run(part, scalars...)
				}
				for _, whole := range args {
					values := make([]float32, n)
					b.Read(values, whole)
					results = append(results, values)
				}
				return results
			}
			want, got := step(0, n), step(0, 1, 18, 19, 1024, 3333, n)
			for k := range want {
				if !slices.EqualFunc(got[k], want[k], func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) }) {
					t.Errorf("%s: %T: result %d differs", b.Name(), kernel(n), k)
				}
			}
		}
	})
}

// describe returns the arguments of a kernel.
func describe(t *testing.T, k device.Kernel) []device.Arg {
	t.Helper()
	args, err := device.Signature(k)
	if err != nil {
		t.Fatal(err)
	}
	return args
}

// put returns a buffer with values.
func put(t *testing.T, b device.Backend, values []float32) device.Buffer {
	t.Helper()
	buf, err := b.Alloc(device.Real, len(values))
	if err != nil {
		t.Fatal(err)
	}
	b.Write(buf, values)
	return buf
}
