package vision

import (
	"bytes"
	"encoding/binary"
	"image"
	"io"

	"golang.org/x/image/vp8"
	"golang.org/x/image/vp8l"

	"tandem/core/fault"
)

// webpFile holds what the chunks of a WebP file say of its first frame.
type webpFile struct {
	w, h   int             // of the canvas
	frame  image.Rectangle // on the canvas
	alpha  bool            // whether samples of alpha count
	alph   []byte          // the chunk ALPH, alpha of a lossy frame
	lossy  []byte          // the chunk VP8
	packed []byte          // the chunk VP8L
}

// parseWebP walks the chunks up to the first frame's pixels.
func parseWebP(data []byte) (f webpFile, err error) {
	size := int64(binary.LittleEndian.Uint32(data[4:])) + 8
	if size > int64(len(data)) {
		return f, truncated("webp: truncated: %d bytes of %d", len(data), size)
	}
	data = data[:size]
	extended, animated := false, false
	for at := 12; at+8 <= len(data); {
		id, size := string(data[at:at+4]), int64(binary.LittleEndian.Uint32(data[at+4:]))
		body := data[at+8:]
		if size > int64(len(body)) {
			return f, truncated("webp: truncated: chunk %q of %d bytes, %d are left", id, size, len(body))
		}
		body = body[:size]
		at += 8 + int(size+size&1)
		switch id {
		case "VP8X":
			if len(body) < 10 {
				return f, fault.New(fault.Corrupt, "webp: header of %d bytes", len(body))
			}
			extended, animated, f.alpha = true, body[0]&2 != 0, body[0]&16 != 0
			f.w, f.h = 1+uint24(body[4:]), 1+uint24(body[7:])
			f.frame = image.Rect(0, 0, f.w, f.h)
		case "ANMF":
			if len(body) < 16 || !animated {
				return f, fault.New(fault.Corrupt, "webp: a frame where there can be none")
			}
			x, y := 2*uint24(body), 2*uint24(body[3:])
			f.frame = image.Rect(x, y, x+1+uint24(body[6:]), y+1+uint24(body[9:]))
			if !f.frame.In(image.Rect(0, 0, f.w, f.h)) {
				return f, fault.New(fault.Corrupt, "webp: a frame outside the canvas")
			}
			data, at = body, 16
		case "ALPH":
			if extended {
				f.alph = body
			}
		case "VP8 ":
			if len(body) < 10 || string(body[3:6]) != "\x9d\x01\x2a" {
				return f, fault.New(fault.Corrupt, "webp: no key frame")
			}
			f.lossy = body
			w, h := int(binary.LittleEndian.Uint16(body[6:])&0x3fff), int(binary.LittleEndian.Uint16(body[8:])&0x3fff)
			f.alpha = f.alpha || f.alph != nil
			return f, f.checkSize(w, h, extended)
		case "VP8L":
			if len(body) < 5 || body[0] != 0x2f {
				return f, fault.New(fault.Corrupt, "webp: no lossless frame")
			}
			f.packed = body
			bits := binary.LittleEndian.Uint32(body[1:])
			if !animated {
				f.alpha = bits>>28&1 == 1
			}
			return f, f.checkSize(1+int(bits&0x3fff), 1+int(bits>>14&0x3fff), extended)
		}
	}
	return f, fault.New(fault.Corrupt, "webp: no image chunk")
}

// checkSize compares the size in the pixels' own header with the container's.
func (f *webpFile) checkSize(w, h int, extended bool) error {
	if !extended {
		f.w, f.h, f.frame = w, h, image.Rect(0, 0, w, h)
	}
	if f.frame.Dx() != w || f.frame.Dy() != h {
		return fault.New(fault.Corrupt, "webp: a frame of %d × %d pixels in a place for %d × %d", w, h, f.frame.Dx(), f.frame.Dy())
	}
	return nil
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// decodeWebP reads the first frame on its canvas. What the frame does not cover is transparent, or black
// in a file without alpha.
func decodeWebP(data []byte, o Options) (Picture, error) {
	f, err := parseWebP(data)
	if err != nil {
		return Picture{}, err
	}
	if err := o.check(f.w, f.h); err != nil {
		return Picture{}, err
	}
	p := NewPicture(f.w, f.h)
	if f.frame.Dx() != f.w || f.frame.Dy() != f.h {
		for i := 0; f.alpha && i < len(p.Pix); i += 3 {
			o.blend(p.Pix[i:], 0, 0, 0, 0)
		}
	}
	into := p.Crop(f.frame.Min.X, f.frame.Min.Y, f.frame.Dx(), f.frame.Dy())
	if f.packed != nil {
		return p, f.lossless(into, o)
	}
	return p, f.vp8(into, o)
}

func (f *webpFile) lossless(into Picture, o Options) error {
	img, err := vp8l.Decode(bytes.NewReader(f.packed))
	if err != nil {
		return corrupt("webp", err)
	}
	m, ok := img.(*image.NRGBA)
	if !ok {
		return fault.New(fault.Internal, "webp: %T", img)
	}
	for y := range into.H {
		dst, src := into.Row(y), m.Pix[y*m.Stride:]
		for x := range into.W {
			s := src[4*x:][:4]
			if !f.alpha {
				s[3] = 255
			}
			o.blend(dst[3*x:], s[0], s[1], s[2], s[3])
		}
	}
	return nil
}

func (f *webpFile) vp8(into Picture, o Options) error {
	d := vp8.NewDecoder()
	d.Init(bytes.NewReader(f.lossy), len(f.lossy))
	if _, err := d.DecodeFrameHeader(); err != nil {
		return corrupt("webp", err)
	}
	m, err := d.DecodeFrame()
	if err != nil {
		return corrupt("webp", err)
	}
	var alpha []byte
	if f.alph != nil {
		if alpha, err = webpAlpha(f.alph, into.W, into.H); err != nil {
			return err
		}
	}
	chroma := (into.W + 1) / 2
	for y := range into.H {
		dst := into.Row(y)
		// Chroma samples lie between rows 2k and 2k+1: a row mixes the nearer line and the farther.
		near, far := y/2, (y-1)/2
		if y&1 == 1 {
			far = min(y/2+1, (into.H-1)/2)
		}
		upsample(dst, m.Y[y*m.YStride:],
			m.Cb[near*m.CStride:][:chroma], m.Cb[far*m.CStride:][:chroma],
			m.Cr[near*m.CStride:][:chroma], m.Cr[far*m.CStride:][:chroma])
		for x := 0; alpha != nil && x < into.W; x++ {
			c := dst[3*x:]
			o.blend(c, c[0], c[1], c[2], alpha[y*into.W+x])
		}
	}
	return nil
}

// upsample converts a row to RGB. Chroma between samples is mixed of four, 9:3:3:1, with the roundings of
// libwebp's "fancy" upsampling.
func upsample(dst, luma, nearU, farU, nearV, farV []byte) {
	n := len(dst) / 3
	edge := func(x, at int) {
		u := (3*int(nearU[at]) + int(farU[at]) + 2) >> 2
		v := (3*int(nearV[at]) + int(farV[at]) + 2) >> 2
		yuv(dst[3*x:], luma[x], u, v)
	}
	edge(0, 0)
	for i := 1; i <= (n-1)/2; i++ {
		ul, ur := mix(nearU, farU, i)
		vl, vr := mix(nearV, farV, i)
		yuv(dst[3*(2*i-1):], luma[2*i-1], ul, vl)
		yuv(dst[3*2*i:], luma[2*i], ur, vr)
	}
	if n&1 == 0 && n > 0 {
		edge(n-1, n/2-1)
	}
}

// mix returns the two chroma values between samples i-1 and i.
func mix(near, far []byte, i int) (left, right int) {
	n0, n1, f0, f1 := int(near[i-1]), int(near[i]), int(far[i-1]), int(far[i])
	sum := n0 + n1 + f0 + f1 + 8
	return ((sum+2*(n1+f0))>>3 + n0) >> 1, ((sum+2*(n0+f1))>>3 + n1) >> 1
}

// yuv converts as libwebp does: BT.601 of limited range in 14 bits of fixed point.
func yuv(dst []byte, luma byte, u, v int) {
	y := int(luma) * 19077 >> 8
	dst[0] = clip14(y + v*26149>>8 - 14234)
	dst[1] = clip14(y - u*6419>>8 - v*13320>>8 + 8708)
	dst[2] = clip14(y + u*33050>>8 - 17685)
}

func clip14(v int) byte { return byte(min(max(v>>6, 0), 255)) }

// webpAlpha decodes a chunk ALPH: w × h samples, stored or packed as the green of a lossless picture, each
// as a difference from its neighbours.
func webpAlpha(chunk []byte, w, h int) ([]byte, error) {
	if len(chunk) < 1 {
		return nil, fault.New(fault.Corrupt, "webp: empty alpha")
	}
	alpha := make([]byte, w*h)
	switch chunk[0] & 3 {
	case 0:
		if copy(alpha, chunk[1:]) < len(alpha) {
			return nil, truncated("webp: truncated: alpha of %d bytes for %d pixels", len(chunk)-1, len(alpha))
		}
	case 1:
		size := uint32(w-1) | uint32(h-1)<<14
		header := binary.LittleEndian.AppendUint32([]byte{0x2f}, size)
		img, err := vp8l.Decode(io.MultiReader(bytes.NewReader(header), bytes.NewReader(chunk[1:])))
		if err != nil {
			return nil, corrupt("webp", err)
		}
		pix := img.(*image.NRGBA).Pix
		for i := range alpha {
			alpha[i] = pix[4*i+1]
		}
	default:
		return nil, fault.New(fault.Corrupt, "webp: alpha of an unknown packing")
	}
	predict(alpha, w, chunk[0]>>2&3)
	return alpha, nil
}

// predict undoes the filter of alpha: 1 adds the sample on the left, 2 the one above, 3 both less the one
// between. The first row has only a left, the first column only an above.
func predict(alpha []byte, w int, filter byte) {
	for i := range alpha {
		x, y := i%w, i/w
		switch {
		case filter == 0 || i == 0:
		case y == 0 || filter == 1 && x > 0:
			alpha[i] += alpha[i-1]
		case x == 0 || filter == 2:
			alpha[i] += alpha[i-w]
		default:
			alpha[i] += byte(min(max(int(alpha[i-1])+int(alpha[i-w])-int(alpha[i-w-1]), 0), 255))
		}
	}
}
