// Package vision turns picture files into the pixels that an image encoder reads: decoding with
// limits, Pillow's bicubic resampling bit for bit, and CLIP's training and evaluation transforms.
//
// Pixels are 8-bit RGB, interleaved, rows from the top. Nothing here knows of datasets or encoders.
//
// # Decoding rules
//
//   - PNG, JPEG, WebP, GIF, BMP, TIFF and PNM, and AVIF with the build tag libavif; of several frames or pages the first. The format is found
//     in the bytes, never in the file name. The pixels are those of Pillow 13's convert("RGB") bit for
//     bit, or the file is refused with the kind that is not read (docs/datasets.md has the table).
//   - Alpha is composited over a background, white by default, like Pillow's paste with a mask;
//     Options.DropAlpha ignores it, like convert("RGB").
//   - JPEG is decoded by libjpeg-turbo where this was built with the tag libjpeg, else by the standard
//     library, which differs by a few levels (mostly because it repeats chroma samples where libjpeg
//     interpolates them). Either way, missing or damaged data is an error; Pillow refuses only the former.
//   - Sixteen-bit colour keeps its upper byte, as in Pillow. Grey of more than 8 bits is read where no
//     value is over 255, else refused: Pillow makes all of them white.
//   - CMYK becomes RGB as in Pillow, without a colour profile. No profile is ever applied.
//   - EXIF orientation is ignored, as in the reference CLIP implementations. A TIFF's own orientation is
//     applied, as Pillow does.
package vision

import (
	"image"

	"tandem/core/fault"
)

// MaxPixels limits a picture's size by default: 64 Mi pixels, 192 MiB. (Pillow warns at 89 million pixels and
// refuses at 179 million.)
const MaxPixels = 1 << 26

// RGB holds a colour.
type RGB [3]uint8

// White serves as the background by default.
var White = RGB{255, 255, 255}

// Picture holds W × H pixels of RGB; pixel (x, y) is Pix[y*Stride+3*x:][:3]. Pictures are shared without
// copying: whoever receives one does not modify it unless its maker says so.
type Picture struct {
	W, H   int
	Stride int // bytes from one row to the next, ≥ 3·W
	Pix    []byte
	spare  bool // whether Recycle may give the memory to another picture
}

// NewPicture returns a black picture.
func NewPicture(w, h int) Picture {
	return Picture{W: w, H: h, Stride: 3 * w, Pix: make([]byte, 3*w*h)}
}

// Row returns the pixels of a row, 3·W bytes, sharing memory.
func (p Picture) Row(y int) []byte { return p.Pix[y*p.Stride:][:3*p.W] }

// Crop returns a view of the rectangle at (x, y) of w × h pixels, sharing memory. It panics when the rectangle
// is empty or leaves the picture.
func (p Picture) Crop(x, y, w, h int) Picture {
	if x < 0 || y < 0 || w < 1 || h < 1 || x+w > p.W || y+h > p.H {
		panic("vision: crop outside the picture")
	}
	return Picture{W: w, H: h, Stride: p.Stride, Pix: p.Pix[y*p.Stride+3*x:]}
}

// Image returns a copy for the standard library's encoders.
func (p Picture) Image() *image.NRGBA {
	out := image.NewNRGBA(image.Rect(0, 0, p.W, p.H))
	for y := range p.H {
		src, dst := p.Row(y), out.Pix[y*out.Stride:]
		for x := range p.W {
			dst[4*x], dst[4*x+1], dst[4*x+2], dst[4*x+3] = src[3*x], src[3*x+1], src[3*x+2], 255
		}
	}
	return out
}

// Options says how to decode. The zero value is the default.
type Options struct {
	Background *RGB // under transparent pixels; nil is White
	MaxPixels  int  // limit on width × height; 0 is MaxPixels
	DropAlpha  bool // colours of transparent pixels as they are, as by convert("RGB"); no background
}

func (o Options) background() RGB {
	if o.Background == nil {
		return White
	}
	return *o.Background
}

func (o Options) check(w, h int) error {
	limit := o.MaxPixels
	if limit == 0 {
		limit = MaxPixels
	}
	if w < 1 || h < 1 {
		return fault.New(fault.Corrupt, "picture is %d × %d pixels", w, h)
	}
	if int64(w)*int64(h) > int64(limit) {
		return fault.New(fault.Exhausted, "picture is %d × %d = %d pixels, the limit is %d", w, h, int64(w)*int64(h), limit).
			WithHint("scale the picture down, or raise max_pixels; a small file with a huge size in its header may be a decompression bomb").
			WithReason(ReasonPixels)
	}
	return nil
}

// blend writes a colour with alpha to dst[:3].
func (o *Options) blend(dst []byte, r, g, b, alpha byte) {
	if alpha != 255 && !o.DropAlpha {
		bg := o.background()
		r, g, b = composite(r, alpha, bg[0]), composite(g, alpha, bg[1]), composite(b, alpha, bg[2])
	}
	dst[0], dst[1], dst[2] = r, g, b
}
