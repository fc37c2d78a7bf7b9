package augment

import (
	"math"
	"strconv"
)

// copyOf returns a copy of a picture in scratch memory.
func (e *Editor) copyOf(pix []byte) []byte {
	e.pix = append(e.pix[:0], pix...)
	return e.pix
}

// affine gives the pixel at (x, y) the one nearest to m0·x + m1·y + m2, m3·x + m4·y + m5, black where there is none, in
// Pillow's fixed point of 16 bits.
func (e *Editor) affine(pix []byte, w, h int, m [6]float64) {
	src := e.copyOf(pix[:3*w*h])
	if m[1] == 0 && m[3] == 0 {
		shift(pix, src, w, h, m[2], m[5])
		return
	}
	a0, a1, a3, a4 := fixed(m[0]), fixed(m[1]), fixed(m[3]), fixed(m[4])
	a2 := fixed(m[2] + float64(m[0]*.5) + float64(m[1]*.5))
	a5 := fixed(m[5] + float64(m[3]*.5) + float64(m[4]*.5))
	for y := range h {
		xx, yy := a2, a5
		dst := pix[3*w*y:][:3*w]
		for x := range w {
			d := dst[3*x:][:3]
			if i, j := xx>>16, yy>>16; i >= 0 && i < w && j >= 0 && j < h {
				copy(d, src[3*(j*w+i):][:3])
			} else {
				d[0], d[1], d[2] = 0, 0, 0
			}
			xx += a0
			yy += a3
		}
		a2 += a1
		a5 += a4
	}
}

func fixed(v float64) int { return int(math.Floor(float64(v*65536) + .5)) }

// shift moves a picture by whole pixels.
func shift(dst, src []byte, w, h int, dx, dy float64) {
	x, y := int(dx), int(dy)
	clear(dst[:3*w*h])
	from, to := max(0, -x), min(w, w-x)
	for row := max(0, -y); row < min(h, h-y) && from < to; row++ {
		copy(dst[3*(row*w+from):3*(row*w+to)], src[3*((row+y)*w+from+x):])
	}
}

// rotate turns the picture about its centre by degrees, counter-clockwise, and fills the corners with black.
func (e *Editor) rotate(pix []byte, w, h int, degrees float64) {
	if degrees = math.Mod(degrees, 360); degrees < 0 {
		degrees += 360
	}
	if degrees == 0 {
		return
	}
	angle := -float64(degrees * (math.Pi / 180))
	cos, sin := round15(math.Cos(angle)), round15(math.Sin(angle))
	cx, cy := float64(w)/2, float64(h)/2
	m := [6]float64{cos, sin, 0, round15(-math.Sin(angle)), cos, 0}
	m[2] = float64(float64(m[0]*-cx)+float64(m[1]*-cy)) + cx
	m[5] = float64(float64(m[3]*-cx)+float64(m[4]*-cy)) + cy
	e.affine(pix, w, h, m)
}

// round15 rounds to 15 decimal places as Python's round does.
func round15(v float64) float64 {
	out, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'f', 15, 64), 64)
	return out
}

// sharpen mixes the picture with a smoothed one: factor 0 is smooth, 1 the picture, more is sharper. Smooth is the mean
// of 3 × 3 pixels, of which the middle one counts five times; pixels at the edge stay.
func (e *Editor) sharpen(pix []byte, w, h int, factor float64) {
	src := e.copyOf(pix[:3*w*h])
	f, n := float32(factor), 3*w
	for y := 1; y < h-1; y++ {
		above, row, below, dst := src[(y-1)*n:][:n], src[y*n:][:n], src[(y+1)*n:][:n], pix[y*n:][:n]
		for i := 3; i < n-3; i++ {
			sum := 4*int(row[i]) + int(above[i-3]) + int(above[i]) + int(above[i+3]) + int(row[i-3]) + int(row[i]) + int(row[i+3]) +
				int(below[i-3]) + int(below[i]) + int(below[i+3])
			dst[i] = blend(byte((2*sum+13)/26), row[i], f)
		}
	}
}
