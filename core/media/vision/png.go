package vision

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"io"

	"tandem/core/fault"
)

// pngFile holds what the chunks of a PNG file say. The pixels are decoded row by row, so that a picture with
// 16-bit samples and alpha takes no more memory than its RGB.
type pngFile struct {
	w, h, depth, kind int
	interlaced        bool
	palette           []byte // 3 bytes an entry
	trns              []byte
	data              []io.Reader // of the chunks IDAT
	packed            int         // bytes in them
}

// The colour types of PNG.
const (
	pngGrey, pngRGB, pngPalette, pngGreyAlpha, pngRGBA = 0, 2, 3, 4, 6
)

var pngChannels = map[int]int{pngGrey: 1, pngRGB: 3, pngPalette: 1, pngGreyAlpha: 2, pngRGBA: 4}

func decodePNG(data []byte, o Options) (Picture, error) {
	f, err := parsePNG(data, o)
	if err != nil {
		return Picture{}, err
	}
	if most := int64(f.packed) * 1032; int64(f.w)*int64(f.h)*int64(f.depth*pngChannels[f.kind])/8 > most { // what deflate can pack
		return Picture{}, truncated("png: truncated: %d bytes cannot hold %d × %d pixels", f.packed, f.w, f.h)
	}
	z, err := zlib.NewReader(io.MultiReader(f.data...))
	if err != nil {
		return Picture{}, corrupt("png", err)
	}
	p := take(f.w, f.h)
	passes := []pngPass{{0, 0, 1, 1}}
	if f.interlaced {
		passes = adam7
	}
	for _, pass := range passes {
		if err := f.pass(z, p, pass, &o); err != nil {
			return Picture{}, err
		}
	}
	if _, err := z.Read(make([]byte, 1)); err != nil && err != io.EOF {
		return Picture{}, corrupt("png", err) // the checksum
	}
	return p, nil
}

// parsePNG walks the chunks. It passes over those that say nothing of pixels.
func parsePNG(data []byte, o Options) (f pngFile, err error) {
	for at := 8; ; {
		if at+12 > len(data) {
			return f, truncated("png: truncated: no end")
		}
		size, id := int64(binary.BigEndian.Uint32(data[at:])), string(data[at+4:at+8])
		if size > int64(len(data)-at-12) {
			return f, truncated("png: truncated: chunk %q of %d bytes, %d are left", id, size, len(data)-at-12)
		}
		body := data[at+8 : at+8+int(size)]
		switch id {
		case "IHDR", "PLTE", "tRNS", "IDAT", "IEND":
			if crc32.ChecksumIEEE(data[at+4:at+8+int(size)]) != binary.BigEndian.Uint32(data[at+8+int(size):]) {
				return f, fault.New(fault.Corrupt, "png: wrong checksum of chunk %q", id)
			}
		}
		at += 12 + int(size)
		if f.w == 0 && id != "IHDR" {
			return f, fault.New(fault.Corrupt, "png: begins with chunk %q", id)
		}
		switch id {
		case "IHDR":
			if err := f.header(body, o); err != nil {
				return f, err
			}
		case "PLTE":
			f.palette = body
		case "tRNS":
			if len(f.data) == 0 {
				f.trns = body
			}
		case "IDAT":
			f.data, f.packed = append(f.data, bytes.NewReader(body)), f.packed+len(body)
		case "IEND":
			if len(f.data) == 0 {
				return f, fault.New(fault.Corrupt, "png: no pixels")
			}
			return f, f.checkComplete()
		}
	}
}

func (f *pngFile) header(b []byte, o Options) error {
	if len(b) != 13 || f.w != 0 {
		return fault.New(fault.Corrupt, "png: header of %d bytes", len(b))
	}
	w, h := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if w > 1<<31-1 || h > 1<<31-1 {
		return fault.New(fault.Corrupt, "png: picture is %d × %d pixels", w, h)
	}
	if err := o.check(int(w), int(h)); err != nil {
		return err
	}
	f.w, f.h, f.depth, f.kind, f.interlaced = int(w), int(h), int(b[8]), int(b[9]), b[12] == 1
	ok := f.depth == 8 || f.depth == 16 && f.kind != pngPalette ||
		(f.depth == 1 || f.depth == 2 || f.depth == 4) && (f.kind == pngGrey || f.kind == pngPalette)
	if pngChannels[f.kind] == 0 || !ok || b[10] != 0 || b[11] != 0 || b[12] > 1 {
		return fault.New(fault.Corrupt, "png: colour type %d of %d bits, methods %v", f.kind, f.depth, b[10:])
	}
	return nil
}

// checkComplete checks that everything is there that the pixels need.
func (f *pngFile) checkComplete() error {
	if f.kind == pngPalette && (len(f.palette) == 0 || len(f.palette)%3 != 0) {
		return fault.New(fault.Corrupt, "png: palette of %d bytes", len(f.palette))
	}
	if need := map[int]int{pngGrey: 2, pngRGB: 6}[f.kind]; f.trns != nil && len(f.trns) < need {
		return fault.New(fault.Corrupt, "png: transparent colour of %d bytes", len(f.trns))
	}
	return nil
}

// pngPass says where a pass of an interlaced picture begins and how far apart its pixels lie.
type pngPass struct{ x, y, dx, dy int }

var adam7 = []pngPass{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}}

func (f *pngFile) pass(z io.Reader, p Picture, pass pngPass, o *Options) error {
	w, h := (f.w-pass.x+pass.dx-1)/pass.dx, (f.h-pass.y+pass.dy-1)/pass.dy
	if w <= 0 || h <= 0 {
		return nil
	}
	bits := f.depth * pngChannels[f.kind]
	size := (w*bits + 7) / 8
	row, above := make([]byte, 1+size), make([]byte, 1+size) // the filter's number first
	for y := range h {
		if _, err := io.ReadFull(z, row); err != nil {
			return corrupt("png", err)
		}
		if err := unfilter(row[0], row[1:], above[1:], max(1, bits/8)); err != nil {
			return err
		}
		if err := f.row(p.Row(pass.y + y*pass.dy)[3*pass.x:], row[1:], w, 3*pass.dx, o); err != nil {
			return err
		}
		row, above = above, row
	}
	return nil
}

// unfilter adds to each byte what the filter predicts from the one a pixel before and those above.
func unfilter(filter byte, row, above []byte, pixel int) error {
	switch filter {
	case 0:
	case 1:
		for i := pixel; i < len(row); i++ {
			row[i] += row[i-pixel]
		}
	case 2:
		for i := range row {
			row[i] += above[i]
		}
	case 3:
		for i := range row {
			left := 0
			if i >= pixel {
				left = int(row[i-pixel])
			}
			row[i] += byte((left + int(above[i])) / 2)
		}
	case 4:
		for i := range row {
			left, corner := 0, 0
			if i >= pixel {
				left, corner = int(row[i-pixel]), int(above[i-pixel])
			}
			row[i] += paeth(left, int(above[i]), corner)
		}
	default:
		return fault.New(fault.Corrupt, "png: unknown filter %d", filter)
	}
	return nil
}

func paeth(a, b, c int) byte {
	pa, pb, pc := b-c, a-c, a+b-2*c
	pa, pb, pc = max(pa, -pa), max(pb, -pb), max(pc, -pc)
	if pa <= pb && pa <= pc {
		return byte(a)
	}
	if pb <= pc {
		return byte(b)
	}
	return byte(c)
}

// row writes w pixels, step bytes apart.
func (f *pngFile) row(dst, src []byte, w, step int, o *Options) error {
	if f.kind == pngRGB && f.depth == 8 && f.trns == nil && step == 3 {
		copy(dst[:3*w], src)
		return nil
	}
	bytes := f.depth / 8 // of a sample; the upper one counts
	for i := range w {
		d := dst[i*step:]
		switch f.kind {
		case pngGrey, pngPalette:
			v, grey, err := f.value(src, i)
			if err != nil {
				return err
			}
			if f.kind == pngGrey {
				alpha := byte(255)
				if f.trns != nil && v == int(binary.BigEndian.Uint16(f.trns)) {
					alpha = 0
				}
				o.blend(d, grey, grey, grey, alpha)
				continue
			}
			if 3*v >= len(f.palette) {
				return fault.New(fault.Corrupt, "png: colour %d of a palette of %d", v, len(f.palette)/3)
			}
			alpha := byte(255)
			if v < len(f.trns) {
				alpha = f.trns[v]
			}
			o.blend(d, f.palette[3*v], f.palette[3*v+1], f.palette[3*v+2], alpha)
		case pngRGB:
			s := src[3*bytes*i:][:3*bytes]
			alpha := byte(255)
			if f.trns != nil && f.isTransparent(s) {
				alpha = 0
			}
			o.blend(d, s[0], s[bytes], s[2*bytes], alpha)
		case pngGreyAlpha:
			s := src[2*bytes*i:][:2*bytes]
			o.blend(d, s[0], s[0], s[0], s[bytes])
		case pngRGBA:
			s := src[4*bytes*i:][:4*bytes]
			o.blend(d, s[0], s[bytes], s[2*bytes], s[3*bytes])
		}
	}
	return nil
}

// value returns sample i of a row with one channel, and its grey in 8 bits.
func (f *pngFile) value(src []byte, i int) (v int, grey byte, err error) {
	switch f.depth {
	case 8:
		return int(src[i]), src[i], nil
	case 16:
		v = int(binary.BigEndian.Uint16(src[2*i:]))
		grey, err = grey16("png", v)
		return v, grey, err
	}
	bit := i * f.depth
	v = int(src[bit/8]) >> (8 - f.depth - bit%8) & (1<<f.depth - 1)
	return v, byte(v * 255 / (1<<f.depth - 1)), nil
}

// isTransparent reports whether a pixel has the transparent colour.
func (f *pngFile) isTransparent(s []byte) bool {
	if f.depth == 16 {
		return bytes.Equal(s, f.trns[:6])
	}
	return f.trns[0]|f.trns[2]|f.trns[4] == 0 && s[0] == f.trns[1] && s[1] == f.trns[3] && s[2] == f.trns[5]
}

// grey16 converts a grey of more than 8 bits as Pillow does, which clips at 255. It refuses larger values,
// which would all become white.
func grey16(format string, v int) (byte, error) {
	if v > 255 {
		return 0, fault.New(fault.Unavailable, "%s: grey of more than 8 bits is not read (a value is %d, and Pillow makes all over 255 white)", format, v).
			WithHint("scale it to 8 bits first, for instance with ImageMagick: convert FILE -normalize -depth 8 FILE.png")
	}
	return byte(v), nil
}
