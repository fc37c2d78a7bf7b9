package vision

import (
	"image"
	"image/draw"
)

// div255 returns a/255 rounded to nearest, for 0 ≤ a ≤ 255².
func div255(a uint32) uint32 {
	a += 128
	return (a + a>>8) >> 8
}

// composite lays a straight-alpha sample over the background, as Pillow's paste with a mask does.
func composite(c, alpha, bg uint8) uint8 {
	return uint8(div255(uint32(c)*uint32(alpha) + uint32(bg)*(255-uint32(alpha))))
}

// flatten converts what image/jpeg decodes to RGB.
func flatten(img image.Image) Picture {
	bounds := img.Bounds()
	p := NewPicture(bounds.Dx(), bounds.Dy())
	cmyk, isCMYK := img.(*image.CMYK)
	line := image.NewRGBA(image.Rect(0, 0, p.W, 1))
	for y := range p.H {
		dst := p.Row(y)
		if isCMYK {
			cmykRow(dst, cmyk.Pix[y*cmyk.Stride:])
			continue
		}
		draw.Draw(line, line.Rect, img, image.Pt(bounds.Min.X, bounds.Min.Y+y), draw.Src) // fast for YCbCr and grey
		for x := range p.W {
			copy(dst[3*x:3*x+3], line.Pix[4*x:])
		}
	}
	return p
}

// cmykRow converts as Pillow does: (1-k) - c·(1-k).
func cmykRow(dst, src []byte) {
	for i := 0; i < len(dst)/3; i++ {
		s := src[4*i:][:4]
		white := 255 - uint32(s[3])
		for c := range 3 {
			dst[3*i+c] = uint8(white - div255(uint32(s[c])*white))
		}
	}
}
