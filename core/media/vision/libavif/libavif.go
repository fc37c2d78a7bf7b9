//go:build libavif

package libavif

/*
#cgo CFLAGS: -O2
#cgo LDFLAGS: -lavif
#include <avif/avif.h>
#include "decode.h"
*/
import "C"

import (
	"runtime"
	"unsafe"

	"tandem/core/fault"
)

// Version returns the version of libavif: "0.11.1".
func Version() string { return C.GoString(C.avifVersion()) }

// Info tells what a file's header says of its first frame.
type Info struct {
	W, H  int
	Depth int // bits of a sample
	Alpha bool
}

// Decode reads the first frame of a whole file. It calls accept with what the header says, before it takes memory for the
// pixels, and returns accept's error. The pixels are packed RGBA of 8 bits, or RGB where there is no alpha. A broken file
// yields fault.Corrupt, a kind that the library does not read fault.Unavailable. It is safe for concurrent use.
func Decode(data []byte, accept func(Info) error) (pix []byte, info Info, err error) {
	if len(data) == 0 {
		return nil, info, problem(C.TD_AVIF_TRUNCATED, "empty file")
	}
	var text [C.TD_AVIF_TEXT]C.char
	var decoder unsafe.Pointer
	var i C.td_avif_info
	var pin runtime.Pinner // the decoder keeps the pointer between the calls
	pin.Pin(&data[0])
	defer pin.Unpin()
	defer func() { C.td_avif_close(decoder) }()
	const most = 1 << 28 // libavif's own limit; accept has the caller's
	if rc := C.td_avif_open((*C.uint8_t)(&data[0]), C.size_t(len(data)), most, &decoder, &i, &text[0]); rc != C.TD_AVIF_OK {
		return nil, info, problem(rc, C.GoString(&text[0]))
	}
	info = Info{W: int(i.width), H: int(i.height), Depth: int(i.depth), Alpha: i.alpha != 0}
	if err := accept(info); err != nil {
		return nil, info, err
	}
	channels := 3
	if info.Alpha {
		channels = 4
	}
	pix = make([]byte, channels*info.W*info.H)
	if rc := C.td_avif_read(decoder, (*C.uint8_t)(&pix[0]), &text[0]); rc != C.TD_AVIF_OK {
		return nil, info, problem(rc, C.GoString(&text[0]))
	}
	return pix, info, nil
}

func problem(rc C.int, text string) error {
	switch rc {
	case C.TD_AVIF_MEMORY:
		return fault.New(fault.Exhausted, "avif: no memory for the decoder")
	case C.TD_AVIF_UNREAD:
		return fault.New(fault.Unavailable, "avif: this kind is not read: %s", text).
			WithHint("convert it to PNG or JPEG first, for instance with ImageMagick: convert FILE FILE.png")
	case C.TD_AVIF_TRUNCATED:
		return fault.New(fault.Corrupt, "avif: truncated: %s", text).WithReason("truncated picture")
	}
	return fault.New(fault.Corrupt, "avif: %s", text)
}
