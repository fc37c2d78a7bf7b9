//go:build libjpeg

package libjpeg

/*
#cgo CFLAGS: -O2
#cgo LDFLAGS: -ljpeg
#cgo nocallback td_jpeg_size
#cgo noescape td_jpeg_size
#cgo nocallback td_jpeg_decode
#cgo noescape td_jpeg_decode
#include <stdio.h>
#include <jpeglib.h>
#include "decode.h"

#define td_text(x) #x
#define td_value(x) td_text(x)
static const char *td_jpeg_version(void) { return td_value(LIBJPEG_TURBO_VERSION); }
*/
import "C"

import "tandem/core/fault"

// Version returns the version of libjpeg-turbo that this was compiled for: "2.1.5".
func Version() string { return C.GoString(C.td_jpeg_version()) }

// Size reads the width and height from the header of a whole file. A file that is no JPEG, or that is cut off
// in its header, yields fault.Corrupt.
func Size(data []byte) (w, h int, err error) {
	if len(data) == 0 {
		return 0, 0, problem(C.TD_JPEG_TRUNCATED, "empty file")
	}
	var cw, ch C.int
	var text [C.TD_JPEG_TEXT]C.char
	if rc := C.td_jpeg_size((*C.uint8_t)(&data[0]), C.size_t(len(data)), &cw, &ch, &text[0]); rc != C.TD_JPEG_OK {
		return 0, 0, problem(rc, C.GoString(&text[0]))
	}
	return int(cw), int(ch), nil
}

// Decode writes the pixels of a whole file to rgb, 3·w·h bytes packed, w and h being what Size returned. Grey
// and CMYK become RGB as in Pillow. Missing or damaged pixel data yields fault.Corrupt (Pillow refuses only
// missing data). It is safe for concurrent use, because each call has a decoder of its own. It panics when rgb
// has another length.
func Decode(data, rgb []byte, w, h int) error {
	if len(data) == 0 || w < 1 || h < 1 || len(rgb) != 3*w*h {
		panic("libjpeg: buffer of another size than the picture")
	}
	var text [C.TD_JPEG_TEXT]C.char
	rc := C.td_jpeg_decode((*C.uint8_t)(&data[0]), C.size_t(len(data)), (*C.uint8_t)(&rgb[0]), C.int(w), C.int(h), &text[0])
	if rc != C.TD_JPEG_OK {
		return problem(rc, C.GoString(&text[0]))
	}
	return nil
}

func problem(rc C.int, text string) error {
	switch rc {
	case C.TD_JPEG_MEMORY:
		return fault.New(fault.Exhausted, "jpeg: no memory for the decoder")
	case C.TD_JPEG_UNREAD:
		return fault.New(fault.Unavailable, "jpeg: this kind is not read: %s", text).
			WithHint("convert it to an ordinary JPEG of 8 bits first, for instance with ImageMagick: convert FILE -depth 8 FILE.png")
	case C.TD_JPEG_TRUNCATED:
		return fault.New(fault.Corrupt, "jpeg: truncated: %s", text).WithReason("truncated picture")
	}
	return fault.New(fault.Corrupt, "jpeg: %s", text)
}
