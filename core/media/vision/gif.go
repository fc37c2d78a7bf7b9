package vision

import (
	"bytes"
	"compress/lzw"
	"encoding/binary"
	"io"

	"tandem/core/fault"
)

// decodeGIF reads the first frame on its canvas, which grows to hold it. As in Pillow, what the frame does
// not cover has the transparent colour where there is one, else colour 0.
func decodeGIF(data []byte, o Options) (Picture, error) {
	if len(data) < 13 {
		return Picture{}, truncated("gif: truncated: header of %d bytes", len(data))
	}
	w, h := int(binary.LittleEndian.Uint16(data[6:])), int(binary.LittleEndian.Uint16(data[8:]))
	palette, rest, err := gifPalette(data[10], data[13:])
	if err != nil {
		return Picture{}, err
	}
	transparent := -1
	for {
		if len(rest) < 2 {
			return Picture{}, truncated("gif: truncated: no frame")
		}
		switch rest[0] {
		case '!':
			body, after, err := gifBlocks(rest[2:], 8)
			if err != nil {
				return Picture{}, err
			}
			if rest[1] == 0xf9 && len(body) >= 4 && body[0]&1 == 1 {
				transparent = int(body[3])
			}
			rest = after
		case ',':
			return gifFrame(rest[1:], w, h, palette, transparent, o)
		case ';':
			return Picture{}, fault.New(fault.Corrupt, "gif: no frame")
		default:
			rest = rest[1:] // as Pillow does
		}
	}
}

// gifPalette takes a table of colours when flags announce one.
func gifPalette(flags byte, data []byte) (palette, rest []byte, err error) {
	if flags&0x80 == 0 {
		return nil, data, nil
	}
	n := 3 << (flags&7 + 1)
	if len(data) < n {
		return nil, nil, truncated("gif: truncated: palette")
	}
	return data[:n], data[n:], nil
}

// gifBlocks takes a sequence of blocks and returns the first keep bytes in them, or all when keep is negative.
func gifBlocks(data []byte, keep int) (body, rest []byte, err error) {
	for {
		if len(data) == 0 || len(data) < 1+int(data[0]) {
			return body, nil, truncated("gif: truncated: block")
		}
		n := int(data[0])
		if n == 0 {
			return body, data[1:], nil
		}
		if keep < 0 || len(body) < keep {
			body = append(body, data[1:1+n]...)
		}
		data = data[1+n:]
	}
}

// gifFrame reads the frame whose descriptor is at the beginning of data.
func gifFrame(data []byte, w, h int, palette []byte, transparent int, o Options) (Picture, error) {
	if len(data) < 9 {
		return Picture{}, truncated("gif: truncated: frame")
	}
	at := func(i int) int { return int(binary.LittleEndian.Uint16(data[i:])) }
	x, y, fw, fh, flags := at(0), at(2), at(4), at(6), data[8]
	w, h = max(w, x+fw), max(h, y+fh)
	if err := o.check(w, h); err != nil {
		return Picture{}, err
	}
	if fw < 1 || fh < 1 {
		return Picture{}, fault.New(fault.Corrupt, "gif: frame of %d × %d pixels", fw, fh)
	}
	local, rest, err := gifPalette(flags, data[9:])
	if err != nil {
		return Picture{}, err
	}
	if local != nil {
		palette = local
	}
	if palette == nil {
		palette = make([]byte, 3*256)
		for i := range palette {
			palette[i] = byte(i / 3)
		}
	}
	if len(rest) < 1 || rest[0] < 2 || rest[0] > 8 {
		return Picture{}, fault.New(fault.Corrupt, "gif: codes of another size than 2 to 8 bits")
	}
	packed, _, blockErr := gifBlocks(rest[1:], -1) // what is whole of a truncated file may be enough
	z := lzw.NewReader(bytes.NewReader(packed), lzw.LSB, int(rest[0]))
	defer z.Close()

	p := NewPicture(w, h)
	color := func(dst []byte, index int) error {
		if 3*index >= len(palette) {
			return fault.New(fault.Corrupt, "gif: colour %d of a palette of %d", index, len(palette)/3)
		}
		alpha := byte(255)
		if index == transparent {
			alpha = 0
		}
		o.blend(dst, palette[3*index], palette[3*index+1], palette[3*index+2], alpha)
		return nil
	}
	if fw != w || fh != h {
		if err := color(p.Pix, max(transparent, 0)); err != nil {
			return Picture{}, err
		}
		for i := 3; i < len(p.Pix); i += 3 {
			copy(p.Pix[i:i+3], p.Pix[:3])
		}
	}
	line := make([]byte, fw)
	for _, row := range gifRows(fh, flags&0x40 != 0) {
		if _, err := io.ReadFull(z, line); err != nil {
			if blockErr != nil {
				err = blockErr
			}
			return Picture{}, corrupt("gif", err)
		}
		dst := p.Row(y + row)[3*x:]
		for i, index := range line {
			if err := color(dst[3*i:], int(index)); err != nil {
				return Picture{}, err
			}
		}
	}
	return p, nil
}

// gifRows returns the rows of a frame in the order in which the file has them.
func gifRows(h int, interlaced bool) []int {
	rows := make([]int, 0, h)
	passes := [][2]int{{0, 1}}
	if interlaced {
		passes = [][2]int{{0, 8}, {4, 8}, {2, 4}, {1, 2}}
	}
	for _, p := range passes {
		for y := p[0]; y < h; y += p[1] {
			rows = append(rows, y)
		}
	}
	return rows
}
