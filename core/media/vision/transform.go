package vision

import (
	"math"

	"tandem/core/random"
)

// Evaluate applies CLIP's evaluation transform: it scales the shorter side to size, keeps the aspect ratio and
// takes the centre square. It writes 3·size·size bytes to dst.
//
// It rounds as torchvision does: the longer side is size·long/short, truncated; the offset of the crop is
// rounded half to even.
func (r *Resizer) Evaluate(dst []byte, src Picture, size int) {
	w, h := size, size
	if src.W < src.H {
		h = int(float64(size*src.H) / float64(src.W))
	} else {
		w = int(float64(size*src.W) / float64(src.H))
	}
	x := int(math.RoundToEven(float64(w-size) / 2))
	y := int(math.RoundToEven(float64(h-size) / 2))
	r.Window(dst, src, w, h, x, y, size, size)
}

// CropParams bounds the random crop of a random resized crop.
type CropParams struct {
	Scale [2]float64 // area of the crop over the picture's
	Ratio [2]float64 // width of the crop over its height; sampled uniformly in the logarithm
}

// DrawCrop draws a rectangle of a w × h picture as torchvision's RandomResizedCrop does: ten tries,
// then the largest centred rectangle of an allowed ratio.
func DrawCrop(s *random.Stream, w, h int, p CropParams) (x, y, cw, ch int) {
	area := float64(w) * float64(h)
	lo, hi := math.Log(p.Ratio[0]), math.Log(p.Ratio[1])
	for range 10 {
		target := area * s.Range(p.Scale[0], p.Scale[1])
		ratio := math.Exp(s.Range(lo, hi))
		cw = int(math.RoundToEven(math.Sqrt(target * ratio)))
		ch = int(math.RoundToEven(math.Sqrt(target / ratio)))
		if cw > 0 && cw <= w && ch > 0 && ch <= h {
			y = s.IntN(h - ch + 1)
			x = s.IntN(w - cw + 1)
			return x, y, cw, ch
		}
	}
	cw, ch = w, h
	if ratio := float64(w) / float64(h); ratio < p.Ratio[0] {
		ch = int(math.RoundToEven(float64(w) / p.Ratio[0]))
	} else if ratio > p.Ratio[1] {
		cw = int(math.RoundToEven(float64(h) * p.Ratio[1]))
	}
	cw, ch = max(cw, 1), max(ch, 1)
	return (w - cw) / 2, (h - ch) / 2, cw, ch
}

// Augment applies CLIP's training transform: a random crop, scaled to size × size, then flipped with
// probability flip. The crop comes first, so that the filter sees nothing outside it. It writes 3·size·size
// bytes to dst. For the same crop it always takes the same number of draws from s.
func (r *Resizer) Augment(dst []byte, src Picture, size int, s *random.Stream, p CropParams, flip float64) {
	x, y, w, h := DrawCrop(s, src.W, src.H, p)
	r.window(dst, src.Crop(x, y, w, h), size, size, 0, 0, size, size, s.Float64() < flip)
}

// FlipH mirrors w × h pixels of packed RGB left to right, in place.
func FlipH(pix []byte, w, h int) {
	for y := range h {
		row := pix[3*w*y:][:3*w]
		for a, b := 0, 3*(w-1); a < b; a, b = a+3, b-3 {
			row[a], row[b] = row[b], row[a]
			row[a+1], row[b+1] = row[b+1], row[a+1]
			row[a+2], row[b+2] = row[b+2], row[a+2]
		}
	}
}
