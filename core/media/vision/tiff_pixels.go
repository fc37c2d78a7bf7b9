package vision

import (
	"bytes"
	"compress/zlib"
	"io"
	"math/bits"

	"golang.org/x/image/ccitt"
	"golang.org/x/image/tiff/lzw"

	"tandem/core/fault"
)

// pixels unpacks one strip or tile after the other, so that no more than one of them is in memory beside
// the picture.
func (f *tiffFile) pixels(o *Options) (Picture, error) {
	p := NewPicture(f.w, f.h)
	across, down := (f.w+f.tw-1)/f.tw, (f.h+f.th-1)/f.th
	planes, channels := 1, f.samples
	if f.planar {
		planes, channels = f.samples, 1
	}
	stride := (f.tw*channels*f.bits + 7) / 8
	parts := make([][]byte, planes)
	for i := range across * down {
		x, y := i%across*f.tw, i/across*f.th
		// A strip ends with the picture, a tile does not.
		rows := f.th
		if f.tw == f.w {
			rows = min(f.th, f.h-y)
		}
		if f.packing == 7 {
			if err := f.jpegPart(p, i, x, y); err != nil {
				return Picture{}, err
			}
			continue
		}
		for plane := range planes {
			part, err := f.unpack(plane*across*down+i, f.tw, rows, stride, channels)
			if err != nil {
				return Picture{}, err
			}
			parts[plane] = part
		}
		for row := range min(rows, f.h-y) {
			lines := make([][]byte, planes)
			for plane := range lines {
				lines[plane] = parts[plane][row*stride:][:stride]
			}
			if err := f.row(p.Row(y + row)[3*x:], lines, min(f.tw, f.w-x), o); err != nil {
				return Picture{}, err
			}
		}
	}
	return p, nil
}

// part returns the bytes of strip or tile i as they are in the file.
func (f *tiffFile) part(i int) ([]byte, error) {
	at := f.at(f.offsets, i)
	if at > uint64(len(f.data)) {
		return nil, truncated("tiff: truncated: part %d begins at byte %d of %d", i, at, len(f.data))
	}
	raw := f.data[at:]
	if i < f.sizes.count {
		size := f.at(f.sizes, i)
		if size > uint64(len(raw)) {
			return nil, truncated("tiff: truncated: part %d has %d bytes of %d", i, len(raw), size)
		}
		raw = raw[:size]
	}
	return raw, nil
}

// unpack returns rows × stride bytes of strip or tile i.
func (f *tiffFile) unpack(i, width, rows, stride, channels int) ([]byte, error) {
	raw, err := f.part(i)
	if err != nil {
		return nil, err
	}
	if f.reversed {
		mirrored := make([]byte, len(raw))
		for i, b := range raw {
			mirrored[i] = bits.Reverse8(b)
		}
		raw = mirrored
	}
	size := rows * stride
	var r io.Reader
	checked := false
	switch f.packing {
	case 1:
		if len(raw) < size {
			return nil, truncated("tiff: truncated: part %d has %d bytes of %d", i, len(raw), size)
		}
		return raw[:size], nil
	case 3, 4:
		form := ccitt.Group3
		if f.packing == 4 {
			form = ccitt.Group4
		}
		r = ccitt.NewReader(bytes.NewReader(raw), ccitt.MSB, form, width, rows, &ccitt.Options{Invert: true, Align: f.packing == 3 && f.value(tagFaxOptions, 0)&4 != 0})
	case 5:
		z := lzw.NewReader(bytes.NewReader(raw), lzw.MSB, 8)
		defer z.Close()
		r = z
	case 32773:
		r = &packBits{data: raw}
	default:
		z, err := zlib.NewReader(bytes.NewReader(raw))
		if err != nil {
			return nil, corrupt("tiff", err)
		}
		r, checked = z, true
	}
	out, err := readAll(r, size, len(raw))
	if err == nil && checked { // the checksum comes after the last byte
		if _, err = r.Read(make([]byte, 1)); err == io.EOF {
			err = nil
		}
	}
	if err != nil {
		return nil, corrupt("tiff", err)
	}
	if f.predictor == 2 && f.packing != 3 && f.packing != 4 && f.packing != 32773 {
		for y := range rows {
			f.undoPredictor(out[y*stride:][:stride], channels)
		}
	}
	return out, nil
}

// readAll reads size bytes that are packed in the given number of bytes. A header may promise more than there
// is, so it takes only as much memory as any of the packings can fill.
func readAll(r io.Reader, size, packed int) ([]byte, error) {
	const most = 2730 // times, of LZW's longest code
	var b bytes.Buffer
	b.Grow(min(size, most*packed) + bytes.MinRead)
	if n, err := io.CopyN(&b, r, int64(size)); err != nil {
		if err == io.EOF && n < int64(size) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return b.Bytes(), nil
}

// undoPredictor adds to each sample the one of the pixel before.
func (f *tiffFile) undoPredictor(line []byte, channels int) {
	if f.bits == 8 {
		for i := channels; i < len(line); i++ {
			line[i] += line[i-channels]
		}
		return
	}
	for i := 2 * channels; i+1 < len(line); i += 2 {
		f.order.PutUint16(line[i:], f.order.Uint16(line[i:])+f.order.Uint16(line[i-2*channels:]))
	}
}

// packBits unpacks Apple's run-length packing.
type packBits struct {
	data   []byte
	left   int // of the run
	repeat bool
}

func (p *packBits) Read(out []byte) (n int, err error) {
	for n < len(out) {
		if p.left == 0 {
			if len(p.data) == 0 {
				return n, io.EOF
			}
			c := int8(p.data[0])
			p.data = p.data[1:]
			switch {
			case c >= 0:
				p.left, p.repeat = int(c)+1, false
			case c != -128:
				p.left, p.repeat = 1-int(c), true
			}
			continue
		}
		if len(p.data) == 0 {
			return n, io.ErrUnexpectedEOF
		}
		out[n] = p.data[0]
		n++
		if p.left--; !p.repeat || p.left == 0 {
			p.data = p.data[1:]
		}
	}
	return n, nil
}

// row writes n pixels of a line, whose samples are in one part or in one for each plane.
func (f *tiffFile) row(dst []byte, lines [][]byte, n int, o *Options) error {
	var s [6]byte
	for x := range n {
		for c := range f.samples {
			line, i := lines[0], x*f.samples+c
			if f.planar {
				line, i = lines[c], x
			}
			v, err := f.sample(line, i)
			if err != nil {
				return err
			}
			s[c] = v
		}
		d, alpha := dst[3*x:], byte(255)
		if len(f.extra) > 0 && f.extra[0] != 0 {
			alpha = s[f.samples-len(f.extra)]
		}
		switch f.photometric {
		case 0:
			v := 255 - s[0]
			d[0], d[1], d[2] = v, v, v
		case 1:
			o.blend(d, s[0], s[0], s[0], alpha)
		case 2:
			if len(f.extra) > 0 && f.extra[0] == 1 && alpha != 255 {
				for c := range 3 {
					s[c] = unpremultiply(s[c], alpha)
				}
			}
			o.blend(d, s[0], s[1], s[2], alpha)
		case 3:
			c := f.palette[3*int(s[0]):]
			o.blend(d, c[0], c[1], c[2], alpha)
		case 5:
			cmykRow(d[:3], s[:4])
		}
	}
	return nil
}

// unpremultiply divides a colour by its alpha, as Pillow does.
func unpremultiply(c, alpha byte) byte {
	if alpha == 0 {
		return 0
	}
	return byte(min(255, int(c)*255/int(alpha)))
}

// sample returns sample i of a line in 8 bits; an index into a palette stays as it is.
func (f *tiffFile) sample(line []byte, i int) (byte, error) {
	switch f.bits {
	case 8:
		return line[i], nil
	case 16:
		v := f.order.Uint16(line[2*i:])
		if f.photometric == 1 {
			return grey16("tiff", int(v))
		}
		return byte(v >> 8), nil
	case 12:
		b := line[i*3/2:]
		if i%2 == 0 {
			return grey16("tiff", int(b[0])<<4|int(b[1])>>4)
		}
		return grey16("tiff", int(b[0]&15)<<8|int(b[1]))
	}
	bit := i * f.bits
	most := byte(1<<f.bits - 1)
	v := line[bit/8] >> (8 - f.bits - bit%8) & most
	if f.photometric == 3 {
		return v, nil
	}
	return v * (255 / most), nil
}

// jpegPart decodes a strip or tile that is a JPEG file without its tables into its place.
func (f *tiffFile) jpegPart(p Picture, i, x, y int) error {
	raw, err := f.part(i)
	if err != nil {
		return err
	}
	if len(raw) < 4 || raw[0] != 0xff || raw[1] != 0xd8 {
		return fault.New(fault.Corrupt, "tiff: part %d is no JPEG", i)
	}
	file := []byte{0xff, 0xd8}
	if f.samples == 3 { // Adobe's marker tells whether samples are YCbCr
		transform := byte(0)
		if f.photometric == 6 {
			transform = 1
		}
		file = append(file, "\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"...)
		file = append(file, transform)
	}
	if tables := f.tags[tagJPEGTables].raw; len(tables) > 4 {
		file = append(file, tables[2:len(tables)-2]...)
	}
	file = append(file, raw[2:]...)
	w, h, err := turbo.size(file)
	if err != nil {
		return err
	}
	if w != f.tw || h > f.th || h < min(f.th, f.h-y) {
		return fault.New(fault.Corrupt, "tiff: a JPEG of %d × %d pixels in a part of %d × %d", w, h, f.tw, f.th)
	}
	part := NewPicture(w, h)
	if err := turbo.decode(file, part.Pix, w, h); err != nil {
		return err
	}
	for row := range min(h, f.h-y) {
		copy(p.Row(y + row)[3*x:], part.Row(row)[:3*min(w, f.w-x)])
	}
	return nil
}

// orient turns a picture upright. orientation is TIFF's, 1 to 8.
func orient(p Picture, orientation int) Picture {
	if orientation < 2 || orientation > 8 {
		return p
	}
	w, h := p.W, p.H
	if orientation > 4 {
		w, h = h, w
	}
	out := NewPicture(w, h)
	for y := range h {
		dst := out.Row(y)
		for x := range w {
			sx, sy := x, y
			if orientation > 4 {
				sx, sy = y, x
			}
			if orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8 {
				sx = p.W - 1 - sx
			}
			if orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7 {
				sy = p.H - 1 - sy
			}
			copy(dst[3*x:3*x+3], p.Row(sy)[3*sx:])
		}
	}
	return out
}
