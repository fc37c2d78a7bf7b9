package vision

import (
	"math"
	"strconv"

	"tandem/core/fault"
)

// pnmReader takes tokens from a PNM file.
type pnmReader struct{ data []byte }

// token returns the next word. Comments go to the end of their line.
func (r *pnmReader) token() (string, error) {
	var word []byte
	comment := false
	for i, c := range r.data {
		switch {
		case comment:
			comment = c != '\n' && c != '\r'
		case c == '#':
			comment = true
		case c == ' ' || c >= '\t' && c <= '\r':
			if len(word) > 0 {
				r.data = r.data[i+1:] // one white space ends the header
				return string(word), nil
			}
		default:
			if word = append(word, c); len(word) > 10 {
				return "", fault.New(fault.Corrupt, "pnm: a number of more than 10 digits")
			}
		}
	}
	r.data = nil
	if len(word) == 0 {
		return "", truncated("pnm: truncated")
	}
	return string(word), nil
}

func (r *pnmReader) number(most int) (int, error) {
	word, err := r.token()
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(word)
	if err != nil || n < 0 || n > most {
		return 0, fault.New(fault.Corrupt, "pnm: %q where a number up to %d stands", word, most)
	}
	return n, nil
}

// digit returns the next 0 or 1 of a plain bitmap, whose digits need no space between them.
func (r *pnmReader) digit() (int, error) {
	for len(r.data) > 0 {
		c := r.data[0]
		r.data = r.data[1:]
		switch {
		case c == '0' || c == '1':
			return int(c - '0'), nil
		case c == '#':
			for len(r.data) > 0 && r.data[0] != '\n' && r.data[0] != '\r' {
				r.data = r.data[1:]
			}
		case c == ' ' || c >= '\t' && c <= '\r':
		default:
			return 0, fault.New(fault.Corrupt, "pnm: %q in a bitmap", c)
		}
	}
	return 0, truncated("pnm: truncated")
}

// decodePNM reads PBM, PGM and PPM, plain and raw. Samples are scaled to 255 from the file's maximum,
// rounded half to even.
func decodePNM(data []byte, o Options) (Picture, error) {
	kind := data[1] - '0'
	r := &pnmReader{data[2:]}
	if len(r.data) == 0 || r.data[0] > ' ' && r.data[0] != '#' {
		return Picture{}, fault.New(fault.Corrupt, "not a picture of a known format (starts with %q)", data[:min(8, len(data))])
	}
	w, err := r.number(math.MaxInt32)
	if err != nil {
		return Picture{}, err
	}
	h, err := r.number(math.MaxInt32)
	if err != nil {
		return Picture{}, err
	}
	if err := o.check(w, h); err != nil {
		return Picture{}, err
	}
	most := 1
	if kind != 1 && kind != 4 {
		if most, err = r.number(65535); err != nil || most < 1 {
			return Picture{}, fault.New(fault.Corrupt, "pnm: maximum %d, want 1 to 65535", most)
		}
	}
	channels := 1
	if kind == 3 || kind == 6 {
		channels = 3
	}
	if err := r.checkLength(kind, w, h, channels, most); err != nil {
		return Picture{}, err
	}
	sample := r.samples(kind, w, most)
	p := NewPicture(w, h)
	if kind == 6 && most == 255 {
		copy(p.Pix, r.data)
		return p, nil
	}
	for i := range w * h {
		d := p.Pix[3*i:]
		for c := range channels {
			v, err := sample(i)
			if err != nil {
				return Picture{}, err
			}
			switch {
			case kind == 1 || kind == 4:
				d[0] = byte(255 * (1 - v))
			case channels == 1 && most > 255: // Pillow scales it to 65535 and makes all over 255 white
				if d[0], err = grey16("pnm", scaleTo(v, most, 65535)); err != nil {
					return Picture{}, err
				}
			default:
				d[c] = byte(scaleTo(v, most, 255))
			}
		}
		if channels == 1 {
			d[1], d[2] = d[0], d[0]
		}
	}
	return p, nil
}

// checkLength refuses a file that ends too soon, before memory is taken for its pixels.
func (r *pnmReader) checkLength(kind byte, w, h, channels, most int) error {
	need := w * h * channels
	switch {
	case kind == 4:
		need = (w + 7) / 8 * h
	case kind >= 5 && most > 255:
		need *= 2
	case kind == 2 || kind == 3:
		need = 2*need - 1
	}
	if len(r.data) < need {
		return truncated("pnm: truncated: %d bytes of at least %d", len(r.data), need)
	}
	return nil
}

// samples returns the function that reads the next sample of a given pixel.
func (r *pnmReader) samples(kind byte, w, most int) func(pixel int) (int, error) {
	switch {
	case kind == 1:
		return func(int) (int, error) { return r.digit() }
	case kind == 2 || kind == 3:
		return func(int) (int, error) { return r.number(most) }
	case kind == 4:
		stride := (w + 7) / 8
		return func(pixel int) (int, error) {
			x := pixel % w
			return int(r.data[pixel/w*stride+x/8]) >> (7 - x%8) & 1, nil
		}
	case most > 255:
		return func(int) (int, error) {
			v := int(r.data[0])<<8 | int(r.data[1])
			r.data = r.data[2:]
			return v, nil
		}
	}
	return func(int) (int, error) {
		v := int(r.data[0])
		r.data = r.data[1:]
		return v, nil
	}
}

func scaleTo(v, most, to int) int {
	if most == to {
		return v
	}
	return min(to, int(math.RoundToEven(float64(v)/float64(most)*float64(to))))
}
