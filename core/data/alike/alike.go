// Package alike finds pictures that are the same: those of equal pixels (Exact), and those that look alike after scaling,
// recompression or a small change (Perceptual, Index).
package alike

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"github.com/corona10/goimagehash"

	"tandem/core/media/vision"
)

// Exact returns the SHA-256 of a picture's size and pixels. Files that decode to the same pixels are equal by it, whatever
// their format and metadata.
func Exact(p vision.Picture) [32]byte {
	h := sha256.New()
	var size [16]byte
	binary.LittleEndian.PutUint64(size[:], uint64(p.W))
	binary.LittleEndian.PutUint64(size[8:], uint64(p.H))
	h.Write(size[:])
	for y := range p.H {
		h.Write(p.Row(y))
	}
	return [32]byte(h.Sum(nil))
}

// side bounds what the perceptual hash looks at; goimagehash works on as many pixels.
const side = 64

// Perceptual returns the 64 bits of pHash (the signs of the low frequencies of a cosine transform, about their median).
// Pictures that look alike differ in few bits: up to 4 after scaling and recompression, about 32 for others. The picture is
// scaled to 64 × 64 by Pillow's bicubic first. Pictures of a single colour have no frequencies: their hashes say nothing.
func Perceptual(p vision.Picture) uint64 {
	small := vision.NewPicture(side, side)
	new(vision.Resizer).Resize(small.Pix, p, side, side)
	h, err := goimagehash.PerceptionHash(small.Image())
	if err != nil {
		panic("alike: " + err.Error()) // of a nil image only
	}
	return h.GetHash()
}

// Distance returns in how many bits two hashes differ.
func Distance(a, b uint64) int { return bits.OnesCount64(a ^ b) }
