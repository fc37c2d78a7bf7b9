//go:build !cgo || !amd64

package augment

var vectorised = false

const mostTaps = 0

func blurAVX2(dst, src []byte, w, h int, taps, work []float32) { panic("augment: not available") }
