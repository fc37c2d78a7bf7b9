package vision

import (
	"encoding/binary"

	"tandem/core/fault"
)

// bmpFile holds what the header of a BMP file says.
type bmpFile struct {
	w, h, bits int
	topDown    bool
	five       bool // 16 bits are 5, 5, 5 and not 5, 6, 5
	alpha      bool
	palette    []byte // entries of entry bytes: blue, green, red
	entry      int
	data       []byte
}

func decodeBMP(data []byte, o Options) (Picture, error) {
	f, err := parseBMP(data)
	if err != nil {
		return Picture{}, err
	}
	if err := o.check(f.w, f.h); err != nil {
		return Picture{}, err
	}
	stride := (f.w*f.bits + 31) / 32 * 4
	if size := stride*(f.h-1) + (f.w*f.bits+7)/8; len(f.data) < size {
		return Picture{}, truncated("bmp: truncated: %d bytes of pixels, want %d", len(f.data), size)
	}
	p := NewPicture(f.w, f.h)
	for y := range f.h {
		dst := p.Row(f.h - 1 - y)
		if f.topDown {
			dst = p.Row(y)
		}
		if err := f.row(dst, f.data[y*stride:], &o); err != nil {
			return Picture{}, err
		}
	}
	return p, nil
}

func parseBMP(data []byte) (f bmpFile, err error) {
	if len(data) < 26 {
		return f, truncated("bmp: truncated: header")
	}
	u16, u32 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32
	offset, size := int64(u32(data[10:])), int(u32(data[14:]))
	packing, colours := uint32(0), 0
	switch {
	case size == 12:
		f.w, f.h, f.bits, f.entry = int(u16(data[18:])), int(u16(data[20:])), int(u16(data[24:])), 3
	case (size == 40 || size == 52 || size == 56 || size == 64 || size == 108 || size == 124) && len(data) >= 14+size:
		f.w, f.h, f.bits, f.entry = int(int32(u32(data[18:]))), int(int32(u32(data[22:]))), int(u16(data[28:])), 4
		packing, colours = u32(data[30:]), int(int32(u32(data[46:])))
		if f.h < 0 {
			f.h, f.topDown = -f.h, true
		}
	default:
		return f, errNotRead("bmp", "a header of %d bytes", size)
	}
	table := 14 + size
	switch {
	case packing == 0:
		f.five = true
	case packing == 3 && size == 40 && len(data) >= table+12:
		err = f.setMasks(u32(data[table:]), u32(data[table+4:]), u32(data[table+8:]), 0)
		table += 12
	case packing == 3 && size >= 56 && size != 64:
		err = f.setMasks(u32(data[54:]), u32(data[58:]), u32(data[62:]), u32(data[66:]))
	case packing == 1 || packing == 2:
		err = errNotRead("bmp", "run-length packing")
	default:
		err = errNotRead("bmp", "packing %d", packing)
	}
	if err != nil {
		return f, err
	}
	switch f.bits {
	case 1, 4, 8:
		if colours == 0 {
			colours = 1 << f.bits
		}
		if colours < 0 || colours > 1<<f.bits || len(data) < table+f.entry*colours {
			return f, fault.New(fault.Corrupt, "bmp: palette of %d colours", colours)
		}
		f.palette = data[table:][:f.entry*colours]
	case 16, 24, 32:
	default:
		return f, errNotRead("bmp", "a pixel of %d bits", f.bits)
	}
	if offset > int64(len(data)) {
		return f, truncated("bmp: truncated: pixels begin at %d of %d bytes", offset, len(data))
	}
	f.data = data[offset:]
	return f, nil
}

// setMasks accepts the layouts of a pixel that are read: those of the usual order.
func (f *bmpFile) setMasks(r, g, b, a uint32) error {
	switch m := [4]uint32{r, g, b, a}; {
	case f.bits == 32 && (m == [4]uint32{0xff0000, 0xff00, 0xff, 0} || m == [4]uint32{0xff0000, 0xff00, 0xff, 0xff000000}):
		f.alpha = a != 0
	case f.bits == 16 && r == 0xf800 && g == 0x7e0 && b == 0x1f:
	case f.bits == 16 && r == 0x7c00 && g == 0x3e0 && b == 0x1f:
		f.five = true
	default:
		return errNotRead("bmp", "a pixel of %d bits with masks %x %x %x %x", f.bits, r, g, b, a)
	}
	return nil
}

func (f *bmpFile) row(dst, src []byte, o *Options) error {
	for x := range f.w {
		d := dst[3*x:]
		switch f.bits {
		case 16:
			v, greens := int(binary.LittleEndian.Uint16(src[2*x:])), 6
			if f.five {
				greens = 5
			}
			d[0] = byte(v >> (5 + greens) & 31 * 255 / 31)
			d[1] = byte(v >> 5 & (1<<greens - 1) * 255 / (1<<greens - 1))
			d[2] = byte(v & 31 * 255 / 31)
		case 24:
			d[0], d[1], d[2] = src[3*x+2], src[3*x+1], src[3*x]
		case 32:
			alpha := byte(255)
			if f.alpha {
				alpha = src[4*x+3]
			}
			o.blend(d, src[4*x+2], src[4*x+1], src[4*x], alpha)
		default:
			bit := x * f.bits
			v := int(src[bit/8]) >> (8 - f.bits - bit%8) & (1<<f.bits - 1)
			if v*f.entry >= len(f.palette) {
				return fault.New(fault.Corrupt, "bmp: colour %d of a palette of %d", v, len(f.palette)/f.entry)
			}
			c := f.palette[v*f.entry:]
			d[0], d[1], d[2] = c[2], c[1], c[0]
		}
	}
	return nil
}
