package vision

import (
	"math"

	"tandem/core/vision/resample"
)

// vectorised is off in tests that compare with the portable code.
var vectorised = resample.Available

// precision is the number of fraction bits of Pillow's fixed-point weights.
const precision = 22

// Resizer resamples pictures and keeps its scratch memory between calls. It is not for concurrent
// use; each worker has its own. The zero value is ready.
//
// The result equals Pillow's Image.resize(…, BICUBIC) on an RGB picture bit for bit: antialiased
// cubic convolution with a = -1/2 (Keys 1981), weights in double precision rounded to 22 fraction
// bits, a horizontal pass, rounding to 8 bits, then a vertical pass. Pillow up to 12 is meant: from
// 13 on it takes the vertical pass first when that is cheaper, which changes a few pixels by a level.
type Resizer struct {
	h, v weights
	tmp  []byte
	acc  []int32
}

// weights are the filter taps of one axis: output i reads first[i] … first[i]+count[i]-1 with
// taps[i*size:]. size is even, and taps after count[i] are 0.
type weights struct {
	first, count []int
	taps         []int32
	size         int
	line         []float64
}

// Resize scales src to w × h and writes 3·w·h bytes to dst.
func (r *Resizer) Resize(dst []byte, src Picture, w, h int) { r.Window(dst, src, w, h, 0, 0, w, h) }

// Window writes to dst the 3·ww·wh bytes at (x, y) of src scaled to w × h, computing no other pixels.
// It panics for an empty or outlying window or a dst too short.
func (r *Resizer) Window(dst []byte, src Picture, w, h, x, y, ww, wh int) {
	if ww < 1 || wh < 1 || x < 0 || y < 0 || x+ww > w || y+wh > h {
		panic("vision: window outside the scaled picture")
	}
	dst = dst[:3*ww*wh]
	r.v.compute(src.H, h, y, wh)
	top, bottom := r.v.first[0], r.v.first[wh-1]+r.v.count[wh-1]
	rows := src.Crop(0, top, src.W, bottom-top)
	if src.W != w {
		r.h.compute(src.W, w, x, ww)
		r.tmp = grow(r.tmp, 3*ww*rows.H)
		tmp := Picture{W: ww, H: rows.H, Stride: 3 * ww, Pix: r.tmp}
		r.h.horizontal(tmp, rows)
		rows = tmp
	} else { // weights of an axis that keeps its length are exactly 1
		rows = rows.Crop(x, 0, ww, rows.H)
	}
	if src.H == h {
		for i := range wh {
			copy(dst[3*ww*i:], rows.Row(i))
		}
		return
	}
	r.vertical(dst, rows, ww, wh, top)
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

// cubic is Keys' kernel with a = -1/2, in Pillow's order of operations.
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

// vertical mixes the rows of src, whose row 0 is row top of the unscaled picture.
func (r *Resizer) vertical(dst []byte, src Picture, w, h, top int) {
	if vectorised {
		resample.Columns(dst, src.Pix, src.Stride, top, 3*w, r.v.taps, r.v.size, r.v.first, r.v.count)
		return
	}
	r.acc = grow(r.acc, 3*w)
	acc := r.acc
	for i := range h {
		for q := range acc {
			acc[q] = 1 << (precision - 1)
		}
		for j, weight := range r.v.taps[i*r.v.size:][:r.v.count[i]] {
			row := src.Row(r.v.first[i] - top + j)[:len(acc)]
			for q, v := range row {
				acc[q] += int32(v) * weight
			}
		}
		out := dst[3*w*i:][:len(acc)]
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
