//go:build clipcuda

package driver

import (
	"fmt"
	"math"
	"os"
	"testing"

	"tandem/core/fault"
)

// each calls f for every product of a convolution's definition, with the indices into x, w and y.
func (c Convolution) each(f func(x, w, y int)) {
	oh, ow := (c.H+2*c.Pad-c.KH)/c.Stride+1, (c.W+2*c.Pad-c.KW)/c.Stride+1
	for b := range c.B {
		for y := range oh {
			for x := range ow {
				for k := range c.OutC {
					for r := range c.KH {
						for s := range c.KW {
							h, w := y*c.Stride+r-c.Pad, x*c.Stride+s-c.Pad
							if h < 0 || h >= c.H || w < 0 || w >= c.W {
								continue
							}
							for i := range c.InC {
								f(((b*c.H+h)*c.W+w)*c.InC+i, ((k*c.KH+r)*c.KW+s)*c.InC+i, ((b*oh+y)*ow+x)*c.OutC+k)
							}
						}
					}
				}
			}
		}
	}
}

func TestConvolutionsInAllDirections(t *testing.T) {
	c := open(t)
	s := stream(t, c)
	dnn, err := c.OpenDNN(s)
	if fault.KindOf(err) == fault.Unavailable {
		t.Skip(err)
	}
	must(t, err)
	defer func() { must(t, dnn.Destroy()) }()
	for _, conv := range []Convolution{
		{B: 2, H: 5, W: 6, InC: 4, OutC: 8, KH: 3, KW: 3, Stride: 1, Pad: 1},
		{B: 1, H: 8, W: 8, InC: 4, OutC: 4, KH: 3, KW: 3, Stride: 2, Pad: 1},
		{B: 2, H: 4, W: 4, InC: 8, OutC: 4, KH: 1, KW: 1, Stride: 1},
		{B: 1, H: 5, W: 6, InC: 8, OutC: 16, KH: 3, KW: 3, Stride: 1, Pad: 1, Type: BF16},
		{B: 2, H: 9, W: 8, InC: 16, OutC: 8, KH: 3, KW: 3, Stride: 2, Pad: 1, Type: BF16},
	} {
		oh, ow := (conv.H+2*conv.Pad-conv.KH)/conv.Stride+1, (conv.W+2*conv.Pad-conv.KW)/conv.Stride+1
		values := [3][]float32{pattern(conv.B*conv.H*conv.W*conv.InC, 3), pattern(conv.OutC*conv.KH*conv.KW*conv.InC, 5),
			pattern(conv.B*oh*ow*conv.OutC, 2)} // x, w, y
		for direction, roles := range [][3]int{Forward: {0, 1, 2}, BackData: {1, 2, 0}, BackWeights: {0, 2, 1}} {
			t.Run(fmt.Sprintf("%d %+v", direction, conv), func(t *testing.T) {
				want := make([]float32, len(values[roles[2]]))
				conv.each(func(x, w, y int) {
					at := [3]int{x, w, y}
					want[at[roles[2]]] += values[roles[0]][at[roles[0]]] * values[roles[1]][at[roles[1]]]
				})
				plan, err := dnn.Plan(Direction(direction), conv, 64<<20)
				if fault.KindOf(err) == fault.Unavailable && os.Getenv("TANDEM_CUDA_DOUBLE") == "" {
					t.Skip(err) // which algorithms there are is the GPU's and the library's affair
				}
				must(t, err)
				defer plan.Destroy()
				workspace, err := c.Alloc(max(1, plan.Workspace()))
				must(t, err)
				defer func() { must(t, c.Free(workspace)) }()
				if conv.Type == BF16 {
					for i, w := range want {
						want[i] = roundToBF16(w)
					}
				}
				out := array(t, c, s, typed(make([]float32, len(want)), conv.Type))
				must(t, plan.Run(array(t, c, s, typed(values[roles[0]], conv.Type)), array(t, c, s, typed(values[roles[1]], conv.Type)), out, workspace))
				equal(t, results(t, s, out, len(want), conv.Type), want...)
			})
		}
	}
}

// roundToBF16 rounds to nearest, ties to even.
func roundToBF16(x float32) float32 {
	bits := math.Float32bits(x)
	return math.Float32frombits((bits + 0x7fff + bits>>16&1) &^ 0xffff)
}

func TestCuDNNWantsMapsInBF16OnSixteenBytes(t *testing.T) {
	if os.Getenv("TANDEM_CUDA_DOUBLE") == "" {
		t.Skip("what a library does with others is its affair")
	}
	c := open(t)
	s := stream(t, c)
	dnn, err := c.OpenDNN(s)
	must(t, err)
	defer func() { must(t, dnn.Destroy()) }()
	plan, err := dnn.Plan(Forward, Convolution{B: 1, H: 2, W: 2, InC: 8, OutC: 8, KH: 1, KW: 1, Stride: 1, Type: BF16}, 64<<20)
	must(t, err)
	defer plan.Destroy()
	workspace, err := c.Alloc(max(1, plan.Workspace()))
	must(t, err)
	defer func() { must(t, c.Free(workspace)) }()
	x, w, y := array(t, c, s, make([]float32, 32)), array(t, c, s, make([]float32, 32)), array(t, c, s, make([]float32, 32))
	refused(t, plan.Run(x+4, w, y, workspace), fault.Internal, "BAD_PARAM")
}

func TestWithoutCuDNNItIsSaid(t *testing.T) {
	c := open(t)
	if alone(t, "TANDEM_CUDNN=/no/such/libcudnn.so") {
		_, err := c.OpenDNN(stream(t, c))
		refused(t, err, fault.Unavailable, "cuDNN is missing", "TANDEM_CUDNN")
	}
}
