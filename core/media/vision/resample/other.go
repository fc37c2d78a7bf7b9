//go:build !cgo || !amd64

package resample

// Available reports whether Rows and Columns may be called.
const Available = false

// Slack has the value 0 where there is nothing to call.
const Slack = 0

// Rows panics.
func Rows(dst, src []byte, stride, rows int, taps []int32, size int, first, count []int) {
	panic("resample: not available")
}

// Columns panics.
func Columns(dst, src []byte, stride, n int, taps []int32, size int, first, count []int) {
	panic("resample: not available")
}
