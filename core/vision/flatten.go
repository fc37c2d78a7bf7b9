package vision

import (
	"image"
	"image/color"
	"image/draw"
)

// div255 is a/255 rounded to nearest, for 0 ≤ a ≤ 255².
func div255(a uint32) uint32 {
	a += 128
	return (a + a>>8) >> 8
}

// over composites a straight-alpha sample over the background, as Pillow's paste with a mask does.
func over(c, alpha, bg uint8) uint8 {
	return uint8(div255(uint32(c)*uint32(alpha) + uint32(bg)*(255-uint32(alpha))))
}

// flatten converts a decoded image to RGB over bg. canvas is the picture's rectangle in the image's
// coordinates; parts of it that the image does not cover are bg.
func flatten(img image.Image, canvas image.Rectangle, bg RGB) Picture {
	p := NewPicture(canvas.Dx(), canvas.Dy())
	in := img.Bounds().Intersect(canvas)
	if in != canvas {
		for i := 0; i < len(p.Pix); i += 3 {
			copy(p.Pix[i:], bg[:])
		}
	}
	rows := rowReader(img, bg)
	for y := in.Min.Y; y < in.Max.Y; y++ {
		dst := p.Pix[(y-canvas.Min.Y)*p.Stride+3*(in.Min.X-canvas.Min.X):][:3*in.Dx()]
		rows(dst, in.Min.X, y)
	}
	return p
}

// rowReader gives a function that writes the pixels of row y from column x on to dst.
func rowReader(img image.Image, bg RGB) func(dst []byte, x, y int) {
	switch m := img.(type) {
	case *image.Gray:
		return func(dst []byte, x, y int) {
			src := m.Pix[m.PixOffset(x, y):]
			for i := 0; i < len(dst)/3; i++ {
				dst[3*i], dst[3*i+1], dst[3*i+2] = src[i], src[i], src[i]
			}
		}
	case *image.Gray16:
		return func(dst []byte, x, y int) {
			src := m.Pix[m.PixOffset(x, y):]
			for i := 0; i < len(dst)/3; i++ {
				dst[3*i], dst[3*i+1], dst[3*i+2] = src[2*i], src[2*i], src[2*i]
			}
		}
	case *image.NRGBA:
		return func(dst []byte, x, y int) { straight(dst, m.Pix[m.PixOffset(x, y):], 1, bg) }
	case *image.NRGBA64:
		return func(dst []byte, x, y int) { straight(dst, m.Pix[m.PixOffset(x, y):], 2, bg) }
	case *image.RGBA:
		return func(dst []byte, x, y int) { premultiplied(dst, m.Pix[m.PixOffset(x, y):], 1, bg) }
	case *image.RGBA64:
		return func(dst []byte, x, y int) { premultiplied(dst, m.Pix[m.PixOffset(x, y):], 2, bg) }
	case *image.Paletted:
		return palettedRows(m, bg)
	case *image.CMYK:
		return func(dst []byte, x, y int) { cmykRow(dst, m.Pix[m.PixOffset(x, y):]) }
	case *image.YCbCr:
		return ycbcrRows(m)
	}
	return func(dst []byte, x, y int) {
		for i := 0; i < len(dst)/3; i++ {
			c := color.NRGBAModel.Convert(img.At(x+i, y)).(color.NRGBA)
			dst[3*i], dst[3*i+1], dst[3*i+2] = over(c.R, c.A, bg[0]), over(c.G, c.A, bg[1]), over(c.B, c.A, bg[2])
		}
	}
}

// straight reads RGBA of 1 or 2 bytes a sample, most significant first, alpha not multiplied in.
func straight(dst, src []byte, bytes int, bg RGB) {
	for i := 0; i < len(dst)/3; i++ {
		s := src[4*bytes*i:][:4*bytes]
		if a := s[3*bytes]; a == 255 {
			dst[3*i], dst[3*i+1], dst[3*i+2] = s[0], s[bytes], s[2*bytes]
		} else {
			dst[3*i], dst[3*i+1], dst[3*i+2] = over(s[0], a, bg[0]), over(s[bytes], a, bg[1]), over(s[2*bytes], a, bg[2])
		}
	}
}

// premultiplied reads RGBA of 1 or 2 bytes a sample with alpha multiplied in.
func premultiplied(dst, src []byte, bytes int, bg RGB) {
	for i := 0; i < len(dst)/3; i++ {
		s := src[4*bytes*i:][:4*bytes]
		for c := range 3 {
			dst[3*i+c] = uint8(min(255, uint32(s[c*bytes])+div255(uint32(bg[c])*(255-uint32(s[3*bytes])))))
		}
	}
}

func palettedRows(m *image.Paletted, bg RGB) func(dst []byte, x, y int) {
	var table [256]RGB
	for i, c := range m.Palette[:min(256, len(m.Palette))] {
		n := color.NRGBAModel.Convert(c).(color.NRGBA)
		table[i] = RGB{over(n.R, n.A, bg[0]), over(n.G, n.A, bg[1]), over(n.B, n.A, bg[2])}
	}
	return func(dst []byte, x, y int) {
		src := m.Pix[m.PixOffset(x, y):]
		for i := 0; i < len(dst)/3; i++ {
			copy(dst[3*i:3*i+3], table[src[i]][:])
		}
	}
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

// ycbcrRows goes through image/draw, whose YCbCr conversion is the standard library's fast one.
func ycbcrRows(m *image.YCbCr) func(dst []byte, x, y int) {
	line := image.NewRGBA(image.Rect(0, 0, m.Rect.Dx(), 1))
	return func(dst []byte, x, y int) {
		draw.Draw(line, line.Rect, m, image.Pt(x, y), draw.Src)
		for i := 0; i < len(dst)/3; i++ {
			dst[3*i], dst[3*i+1], dst[3*i+2] = line.Pix[4*i], line.Pix[4*i+1], line.Pix[4*i+2]
		}
	}
}
