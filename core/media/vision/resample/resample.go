//go:build cgo && amd64

package resample

/*
#cgo CFLAGS: -O3
#cgo nocallback td_resample_rows
#cgo noescape td_resample_rows
#cgo nocallback td_resample_columns
#cgo noescape td_resample_columns
#include "resample.h"
*/
import "C"

import "unsafe"

// Available reports whether this processor has AVX2.
var Available = C.td_resample_available() != 0

// Slack says how many bytes of src after each row Rows may read.
const Slack = 8

// Rows runs the horizontal pass over rows of RGB: output pixel i of each row is the rounded sum over j <
// count[i] of taps[i·size+j] times pixel first[i]+j, the taps having 22 fraction bits. dst is packed,
// len(first) pixels a row. size is even, and taps after count[i] are 0.
func Rows(dst, src []byte, stride, rows int, taps []int32, size int, first, count []int) {
	width := len(first)
	if rows < 1 || width < 1 {
		return
	}
	last := 3 * max(first[0]+count[0], first[width-1]+count[width-1]) // they may run backwards
	_, _ = src[(rows-1)*stride+last+Slack-1], dst[3*width*rows-1]
	C.td_resample_rows(bytes(src), C.int64_t(stride), C.int64_t(rows), bytes(dst), C.int64_t(width),
		(*C.int32_t)(&taps[0]), C.int64_t(size), ints(first), ints(count))
}

// Columns runs the vertical pass: byte q of output row i is the same sum over rows first[i]+j of src. dst is
// packed, n bytes a row, len(first) rows.
func Columns(dst, src []byte, stride, n int, taps []int32, size int, first, count []int) {
	height := len(first)
	if height < 1 || n < 1 {
		return
	}
	_, _ = src[(first[height-1]+count[height-1]-1)*stride+n-1], dst[n*height-1]
	C.td_resample_columns(bytes(src), C.int64_t(stride), bytes(dst), C.int64_t(n), C.int64_t(height),
		(*C.int32_t)(&taps[0]), C.int64_t(size), ints(first), ints(count))
}

func bytes(b []byte) *C.uint8_t { return (*C.uint8_t)(&b[0]) }

func ints(v []int) *C.int64_t { return (*C.int64_t)(unsafe.Pointer(&v[0])) }
