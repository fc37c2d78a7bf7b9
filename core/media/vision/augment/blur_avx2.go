//go:build cgo && amd64

package augment

/*
#cgo CFLAGS: -O3
#cgo nocallback td_blur
#cgo noescape td_blur
#include "blur.h"
*/
import "C"

// vectorised selects the code with AVX2. Tests that compare it with the portable code turn it off.
var vectorised = C.td_blur_available() != 0

// mostTaps bounds the kernel of the vectorised code.
const mostTaps = 255

func blurAVX2(dst, src []byte, w, h int, taps, work []float32) {
	half := len(taps) / 2
	_, _, _ = dst[3*w*h-1], src[3*w*h-1], work[6*w+6*half-1]
	C.td_blur((*C.uint8_t)(&dst[0]), (*C.uint8_t)(&src[0]), C.int64_t(w), C.int64_t(h), (*C.float)(&taps[0]), C.int64_t(len(taps)), (*C.float)(&work[0]))
}
