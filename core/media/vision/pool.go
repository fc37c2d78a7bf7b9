package vision

import (
	"math/bits"
	"sync"
)

// pools holds the memory of pictures that were given back, by the logarithm of its size.
var pools [40]sync.Pool

// take returns a picture whose pixels have any values, in memory of pictures that were given back where there is some. Its
// decoder writes every pixel.
func take(w, h int) Picture {
	n := 3 * w * h
	class := bits.Len(uint(n - 1)) // 2^class bytes hold n
	p := Picture{W: w, H: h, Stride: 3 * w, spare: true}
	if pix, ok := pools[class].Get().(*[]byte); ok && cap(*pix) >= n {
		p.Pix = (*pix)[:n]
	} else {
		p.Pix = make([]byte, n)
	}
	return p
}

// Recycle gives the memory of a picture back, for pictures that are decoded later. It does nothing to pictures that do not
// come from Decode. The caller is the only one who holds p, or a part of it, and uses it no more.
func Recycle(p Picture) {
	if p.spare {
		pools[bits.Len(uint(len(p.Pix)-1))].Put(&p.Pix)
	}
}
