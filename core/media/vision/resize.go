package vision

import (
	"math"
	"slices"

	"tandem/core/media/vision/resample"
)

// vectorised selects the code with AVX2. Tests that compare it with the portable code turn it off.
var vectorised = resample.Available

// precision counts the fraction bits of Pillow's fixed-point weights.
const precision = 22

// Resizer resamples pictures and keeps its scratch memory between calls. It is not for concurrent
// use; each worker has its own. The zero value is ready.
//
// The result equals that of Pillow 13's Image.resize(…, BICUBIC) on an RGB picture bit for bit:
// antialiased cubic convolution with a = -1/2 (Keys 1981), weights in double precision rounded to 22
// fraction bits, a pass along each axis, rounded to 8 bits after each. The order of the passes shows in
// a few pixels by a level: the horizontal one is first, unless the height shrinks by more than twice as
// many pixels as the width. (Up to Pillow 12 the horizontal pass is always first.)
type Resizer struct {
	h, v weights
	tmp  []byte
	acc  []int32
}

// weights holds the filter taps of one axis: output i reads first[i] … first[i]+count[i]-1 with taps[i*size:].
// size is even, and taps after count[i] are 0.
type weights struct {
	first, count []int
	taps         []int32
	size         int
	line         []float64
}

// cutSpan returns the inputs that the outputs read, from … from+n-1, and makes first count from there.
func (k *weights) cutSpan() (from, n int) {
	last := len(k.first) - 1
	from, n = k.first[0], k.first[last]+k.count[last]-k.first[0]
	for i := range k.first {
		k.first[i] -= from
	}
	return from, n
}

// reverse makes the first output the last.
func (k *weights) reverse() {
	slices.Reverse(k.first)
	slices.Reverse(k.count)
	for i, j := 0, len(k.first)-1; i < j; i, j = i+1, j-1 {
		a, b := k.taps[i*k.size:][:k.size], k.taps[j*k.size:][:k.size]
		for at := range a {
			a[at], b[at] = b[at], a[at]
		}
	}
}

// Resize scales src to w × h and writes 3·w·h bytes to dst.
func (r *Resizer) Resize(dst []byte, src Picture, w, h int) { r.Window(dst, src, w, h, 0, 0, w, h) }

// Window writes to dst the 3·ww·wh bytes at (x, y) of src scaled to w × h, computing no other pixels.
// It panics for an empty or outlying window or a dst too short.
func (r *Resizer) Window(dst []byte, src Picture, w, h, x, y, ww, wh int) {
	r.window(dst, src, w, h, x, y, ww, wh, false)
}

// window does what Window does, and mirrors the result left to right when flip is set: the pass along the rows writes its
// outputs from the other end.
func (r *Resizer) window(dst []byte, src Picture, w, h, x, y, ww, wh int, flip bool) {
	if ww < 1 || wh < 1 || x < 0 || y < 0 || x+ww > w || y+wh > h {
		panic("vision: window outside the scaled picture")
	}
	out := Picture{W: ww, H: wh, Stride: 3 * ww, Pix: dst[:3*ww*wh]}
	across, down := src.W != w, src.H != h // an axis that keeps its length has no pass
	downFirst := src.H > h && src.H-h > 2*(src.W-w)
	left, top, cols, rows := x, y, ww, wh
	if across {
		r.h.compute(src.W, w, x, ww)
		left, cols = r.h.cutSpan()
		if flip {
			r.h.reverse()
		}
	}
	if down {
		r.v.compute(src.H, h, y, wh)
		top, rows = r.v.cutSpan()
	}
	src = src.Crop(left, top, cols, rows)
	switch {
	case !across && !down:
		for i := range wh {
			copy(out.Row(i), src.Row(i))
		}
	case !down:
		r.h.horizontal(out, src)
	case !across:
		r.vertical(out, src)
	case downFirst:
		between := r.scratch(cols, wh)
		r.vertical(between, src)
		r.h.horizontal(out, between)
	default:
		between := r.scratch(ww, rows)
		r.h.horizontal(between, src)
		r.vertical(out, between)
	}
	if flip && !across {
		FlipH(dst, ww, wh)
	}
}

// scratch returns the picture between the passes. Memory follows it that the horizontal pass may read.
func (r *Resizer) scratch(w, h int) Picture {
	r.tmp = grow(r.tmp, 3*w*h+resample.Slack)
	return Picture{W: w, H: h, Stride: 3 * w, Pix: r.tmp}
}

// compute fills the taps for outputs from … from+n-1 of an axis scaled from in to out. The explicit
// conversions forbid fused multiply-adds, which would round differently on some processors.
func (k *weights) compute(in, out, from, n int) {
	scale := float64(in) / float64(out)
	stretch := max(scale, 1)
	support, shrink := 2*stretch, 1/stretch
	k.size = int(math.Ceil(support))*2 + 2
	k.first, k.count = grow(k.first, n), grow(k.count, n)
	k.taps, k.line = grow(k.taps, n*k.size), grow(k.line, k.size)
	for i := range n {
		center := float64((float64(from+i) + .5) * scale)
		lo := max(0, int(center-support+.5))
		hi := min(in, int(center+support+.5))
		sum := 0.0
		line := k.line[:hi-lo]
		for j := range line {
			w := cubic((float64(j+lo) - center + .5) * shrink)
			line[j] = w
			sum += w
		}
		taps := k.taps[i*k.size:]
		for j, w := range line {
			if sum != 0 {
				w /= sum
			}
			w *= 1 << precision
			if w < 0 {
				taps[j] = int32(w - .5)
			} else {
				taps[j] = int32(w + .5)
			}
		}
		clear(taps[hi-lo : k.size])
		k.first[i], k.count[i] = lo, hi-lo
	}
}

// cubic evaluates Keys' kernel with a = -1/2, in Pillow's order of operations.
func cubic(x float64) float64 {
	const a = -.5
	x = math.Abs(x)
	switch {
	case x < 1:
		return float64(float64((float64((a+2)*x)-(a+3))*x)*x) + 1
	case x < 2:
		return (float64((float64((x-5)*x)+8)*x) - 4) * a
	}
	return 0
}

func (k *weights) horizontal(dst, src Picture) {
	done := 0
	// Rows reads beyond each row, and after the last ones there may be nothing.
	if room := len(src.Pix) - 3*src.W - resample.Slack; vectorised && room >= 0 {
		done = min(src.H, room/src.Stride+1)
		resample.Rows(dst.Pix, src.Pix, src.Stride, done, k.taps, k.size, k.first, k.count)
	}
	for y := done; y < src.H; y++ {
		in, out := src.Row(y), dst.Row(y)
		for i := range dst.W {
			taps := k.taps[i*k.size:][:k.count[i]]
			px := in[3*k.first[i]:][:3*len(taps)]
			r, g, b := int32(1<<(precision-1)), int32(1<<(precision-1)), int32(1<<(precision-1))
			for _, w := range taps {
				r += int32(px[0]) * w
				g += int32(px[1]) * w
				b += int32(px[2]) * w
				px = px[3:]
			}
			o := out[3*i:][:3]
			o[0], o[1], o[2] = clip8(r), clip8(g), clip8(b)
		}
	}
}

// vertical mixes the rows of src. dst is packed.
func (r *Resizer) vertical(dst, src Picture) {
	n := 3 * dst.W
	if vectorised {
		resample.Columns(dst.Pix, src.Pix, src.Stride, n, r.v.taps, r.v.size, r.v.first, r.v.count)
		return
	}
	r.acc = grow(r.acc, n)
	acc := r.acc
	for i := range dst.H {
		for q := range acc {
			acc[q] = 1 << (precision - 1)
		}
		for j, weight := range r.v.taps[i*r.v.size:][:r.v.count[i]] {
			for q, v := range src.Row(r.v.first[i] + j) {
				acc[q] += int32(v) * weight
			}
		}
		out := dst.Row(i)
		for q, v := range acc {
			out[q] = clip8(v)
		}
	}
}

func clip8(v int32) byte { return byte(min(max(v>>precision, 0), 255)) }

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
