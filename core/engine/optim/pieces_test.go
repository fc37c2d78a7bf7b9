package optim

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/reference"
)

// Gradients in pieces, in any order and across segments, give the bits of gradients in one buffer; what no piece has stays.
func TestAStepAlongPiecesHasTheBitsOfAStep(t *testing.T) {
	const n = 1000
	segments := []Segment{{Off: 0, N: 100, LRScale: 1, Decay: .2}, {Off: 112, N: 388, LRScale: .5, Decay: .2}, {Off: 500, N: 400, LRScale: 2, Start: 2}}
	cuts := []int{0, 1, 90, 100, 112, 333, 640, 641, 850} // the last piece ends at 850
	for _, c := range []Config{
		{Name: "adamw", Beta1: .9, Beta2: .98, Eps: 1e-6}, {Name: "sgd", Momentum: .9}, {Name: "lion", Beta1: .9, Beta2: .99},
	} {
		t.Run(c.Name, func(t *testing.T) {
			b := reference.New[float32](1)
			draw := rand.New(rand.NewPCG(1, 2))
			random := func() (values []float32) {
				for range n {
					values = append(values, float32(draw.NormFloat64()))
				}
				return values
			}
			var opts [2]*Optimizer
			var params, grads [2]device.Buffer
			begin := random()
			for i := range opts {
				params[i], _ = b.Alloc(device.Real, n)
				grads[i], _ = b.Alloc(device.Real, n)
				b.Write(params[i], begin)
				var err error
				if opts[i], err = New(c, b, params[i], grads[i], segments); err != nil {
					t.Fatal(err)
				}
				defer opts[i].Close()
			}
			b.Write(grads[1], random()) // is not looked at
			for step := 1; step <= 4; step++ {
				g := random()
				b.Write(grads[0], g)
				opts[0].Step(step, .01, .5)
				var pieces []Piece
				for i := len(cuts) - 2; i >= 0; i-- {
					pieces = append(pieces, Piece{cuts[i], b.ViewHost(slices.Clone(g[cuts[i]:cuts[i+1]]))})
				}
				if err := opts[1].StepAlong(step, .01, .5, pieces); err != nil {
					t.Fatal(err)
				}
			}
			compare := func(name string, whole, along device.Buffer, rest []float32) {
				x, y := make([]float32, n), make([]float32, n)
				b.Read(x, whole)
				b.Read(y, along)
				copy(x[850:], rest[850:])
				for i := range x {
					if math.Float32bits(x[i]) != math.Float32bits(y[i]) {
						t.Fatalf("%s %d is %g, want %g", name, i, y[i], x[i])
					}
				}
			}
			compare("parameter", params[0], params[1], begin)
			for i, s := range opts[0].States() {
				compare(s.Name, s.Buffer, opts[1].States()[i].Buffer, make([]float32, n))
			}
		})
	}
}
