package keymap

import (
	"math"
	"slices"
	"strings"

	"tandem/core/fault"
)

// resizer gives the function that resamples positions from one shape to another: OpenCLIP's
// resize_pos_embed and resize_text_pos_embed, the former also for the positions of an attention pool.
// Shapes are [tokens, width]. What cannot be resampled is fault.Invalid.
func resizer(name string, from, to []int) (func([]float32) []float32, error) {
	invalid := fault.New(fault.Invalid, "tensor %q is %v, want %v", name, from, to)
	if !strings.HasSuffix(name, "positional_embedding") || len(from) != 2 || len(to) != 2 || from[1] != to[1] || from[0] < 1 || to[0] < 1 {
		return nil, invalid
	}
	width := from[1]
	if !strings.HasPrefix(name, "visual.") {
		return func(x []float32) []float32 { return resample(x, 1, from[0], to[0], width, linear(from[0], to[0])) }, nil
	}
	for class := range 2 { // positions of the grid alone (SigLIP), or after that of the class token
		if a, b := squareSide(from[0]-class), squareSide(to[0]-class); a > 0 && b > 0 {
			return func(x []float32) []float32 { return resizeGrid(x, class, a, b, width) }, nil
		}
	}
	return nil, invalid
}

// squareSide returns the side of a square of n positions, 0 when n is no square.
func squareSide(n int) int {
	s := int(math.Round(math.Sqrt(float64(max(n, 0)))))
	if s*s != n {
		return 0
	}
	return s
}

// resizeGrid resamples positions x [class + a², width] to [class + b², width]: the class token as it is, the
// grid by PyTorch's antialiased bicubic interpolation, which is Pillow's (a = -1/2, support widened by
// the scale when shrinking), first along rows, then along columns.
func resizeGrid(x []float32, class, a, b, width int) []float32 {
	taps := bicubic(a, b)
	rows := resample(x[class*width:], a, a, b, width, taps) // [a, b, width]
	grid := resample(rows, 1, a, b, b*width, taps)          // [b, b, width]
	return slices.Concat(x[:class*width], grid)             // [class + b², width]
}

// taps holds the weights of one output: inputs first … first+len(w)-1.
type taps struct {
	first int
	w     []float64
}

// resample filters the middle axis of x [outer, from, inner].
func resample(x []float32, outer, from, to, inner int, filter []taps) []float32 {
	out := make([]float32, outer*to*inner)
	for o := range outer {
		for i, t := range filter {
			row := out[(o*to+i)*inner:][:inner]
			for c := range row {
				sum := 0.0
				for j, w := range t.w {
					sum += w * float64(x[(o*from+t.first+j)*inner+c])
				}
				row[c] = float32(sum)
			}
		}
	}
	return out
}

// bicubic returns the filters from one length to another.
func bicubic(from, to int) []taps {
	scale := float64(from) / float64(to)
	stretch := max(scale, 1)
	out := make([]taps, to)
	for i := range out {
		center := scale * (float64(i) + .5)
		first := max(0, int(center-2*stretch+.5))
		end := min(from, int(center+2*stretch+.5))
		t, sum := taps{first: first, w: make([]float64, end-first)}, 0.0
		for j := range t.w {
			t.w[j] = cubic((float64(j+first) - center + .5) / stretch)
			sum += t.w[j]
		}
		for j := range t.w {
			t.w[j] /= sum
		}
		out[i] = t
	}
	return out
}

// cubic computes Keys' kernel with a = -1/2.
func cubic(x float64) float64 {
	const a = -.5
	switch x = math.Abs(x); {
	case x < 1:
		return ((a+2)*x-(a+3))*x*x + 1
	case x < 2:
		return (((x-5)*x+8)*x - 4) * a
	}
	return 0
}

// linear returns the filters of plain linear interpolation, corners not aligned.
func linear(from, to int) []taps {
	scale := float64(from) / float64(to)
	out := make([]taps, to)
	for i := range out {
		at := max(0, scale*(float64(i)+.5)-.5)
		first := min(int(at), from-1)
		t := at - float64(first)
		if first+1 < from {
			out[i] = taps{first, []float64{1 - t, t}}
		} else {
			out[i] = taps{first, []float64{1}}
		}
	}
	return out
}
