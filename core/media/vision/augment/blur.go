package augment

import "math"

// kernelSize returns the side of the blur's kernel for pictures of a side: the odd number nearest to a tenth of it, as in
// SimCLR (Chen et al. 2020, appendix A): 23 for 224. torchvision leaves it to its caller.
func kernelSize(side int) int { return 2*(side/20) + 1 }

// blur mixes each pixel with its neighbours under a Gaussian of standard deviation sigma in a square of size pixels, size
// being odd. Pictures are mirrored at their edges, without repeating the edge; size must be under twice their sides.
//
// The sums are those of torchvision's gaussian_blur up to their order, in single precision, along the columns and then
// along the rows, rounded half to even once at the end.
func (e *Editor) blur(pix []byte, w, h, size int, sigma float64) {
	half := size / 2
	if half == 0 {
		return
	}
	taps := gaussian(size, sigma)
	src := e.copyOf(pix[:3*w*h])
	n := 3 * w
	if vectorised && size <= mostTaps {
		e.sum = grow(e.sum, 2*n+6*half)
		blurAVX2(pix, src, w, h, taps, e.sum)
		return
	}
	e.sum = grow(e.sum, n+6*half)
	line := e.sum
	for y := range h {
		mid := line[3*half:][:n]
		clear(mid)
		for k, tap := range taps {
			for i, v := range src[mirror(y+k-half, h)*n:][:n] {
				mid[i] += float32(tap * float32(v))
			}
		}
		for x := 1; x <= half; x++ {
			copy(line[3*(half-x):][:3], mid[3*mirror(-x, w):])
			copy(line[3*(half+w-1+x):][:3], mid[3*mirror(w-1+x, w):])
		}
		e.line = grow(e.line, n)
		out := e.line
		clear(out)
		for k, tap := range taps {
			for i, v := range line[3*k:][:n] {
				out[i] += float32(tap * v)
			}
		}
		for i, v := range out {
			pix[y*n+i] = byte(math.RoundToEven(float64(min(v, 255))))
		}
	}
}

// gaussian returns size weights that add up to 1.
func gaussian(size int, sigma float64) []float32 {
	taps := make([]float32, size)
	sum := float32(0)
	for i := range taps {
		x := float32(i-size/2) / float32(sigma)
		taps[i] = float32(math.Exp(-.5 * float64(float32(x*x))))
		sum += taps[i]
	}
	for i := range taps {
		taps[i] /= sum
	}
	return taps
}

// mirror returns the index within 0 … n-1 that i stands for.
func mirror(i, n int) int {
	for i < 0 || i >= n {
		if i < 0 {
			i = -i
		} else {
			i = 2*(n-1) - i
		}
		if n == 1 {
			return 0
		}
	}
	return i
}

func grow(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}
