package filter

import (
	"bytes"
	"encoding/binary"
	"math"

	"tandem/core/media/vision"
)

// The reasons for which pictures are refused.
const (
	TooSmall      = "too small"
	TooManyPixels = "too many pixels"
	TooNarrow     = "too narrow"
	IsFlat        = "flat"
	IsAnimated    = "animated"
)

// Measures holds what picture filters go by.
type Measures struct {
	W, H     int
	Animated bool
	// Entropy is that of the luma's histogram in bits, 0 … 8: 0 for a single grey, about 7 for photographs.
	Entropy float64
	// Commonest is the share of the commonest colour, at 5 bits for each of red, green and blue.
	Commonest float64
}

// Measure looks at a picture and the bytes of its file.
func Measure(file []byte, p vision.Picture) Measures {
	var luma [256]int
	colours := make([]int32, 1<<15)
	for y := range p.H {
		row := p.Row(y)
		for x := 0; x < len(row); x += 3 {
			r, g, b := int(row[x]), int(row[x+1]), int(row[x+2])
			luma[(299*r+587*g+114*b)/1000]++
			colours[r>>3<<10|g>>3<<5|b>>3]++
		}
	}
	m := Measures{W: p.W, H: p.H, Animated: IsAnimation(file)}
	n := float64(p.W) * float64(p.H)
	for _, c := range luma {
		if c > 0 {
			share := float64(c) / n
			m.Entropy -= share * math.Log2(share)
		}
	}
	most := int32(0)
	for _, c := range colours {
		most = max(most, c)
	}
	m.Commonest = float64(most) / n
	m.Entropy = max(m.Entropy, 0)
	return m
}

// IsAnimation reports whether a GIF, PNG or WebP has more than one frame.
func IsAnimation(file []byte) bool {
	switch {
	case bytes.HasPrefix(file, []byte("GIF8")) && len(file) > 13:
		return gifFrames(file) > 1
	case bytes.HasPrefix(file, []byte("\x89PNG\r\n\x1a\n")):
		for at := 8; at+12 <= len(file); {
			size, kind := int64(binary.BigEndian.Uint32(file[at:])), string(file[at+4:at+8])
			if kind == "acTL" && size >= 4 && at+12 <= len(file) {
				return binary.BigEndian.Uint32(file[at+8:]) > 1
			}
			if kind == "IDAT" || size > int64(len(file)) {
				return false
			}
			at += 12 + int(size)
		}
	case len(file) > 20 && bytes.HasPrefix(file, []byte("RIFF")) && string(file[8:16]) == "WEBPVP8X":
		return file[20]&2 != 0
	}
	return false
}

// gifFrames counts the frames of a GIF, no more than two.
func gifFrames(file []byte) (frames int) {
	table := func(flags byte) int {
		if flags&0x80 == 0 {
			return 0
		}
		return 3 << (flags&7 + 1)
	}
	at := 13 + table(file[10])
	skip := func() { // blocks of data up to an empty one
		for at < len(file) && file[at] != 0 {
			at += 1 + int(file[at])
		}
		at++
	}
	for at < len(file) && frames < 2 {
		switch file[at] {
		case '!':
			at += 2
			skip()
		case ',':
			if at+10 > len(file) {
				return frames
			}
			frames++
			at += 10 + table(file[at+9]) + 1
			skip()
		case ';':
			return frames
		default:
			at++
		}
	}
	return frames
}

// Size refuses pictures with a side under MinSide or with more than MaxPixels.
type Size struct {
	MinSide   int `yaml:"min_side" json:"min_side"`
	MaxPixels int `yaml:"max_pixels" json:"max_pixels"`
}

// DefaultSize leaves out icons, and what vision does not decode by default.
var DefaultSize = Size{MinSide: 64, MaxPixels: vision.MaxPixels}

// Refuse returns the reason to refuse a picture.
func (s Size) Refuse(m Measures) string {
	switch {
	case min(m.W, m.H) < s.MinSide:
		return TooSmall
	case m.W > s.MaxPixels/m.H:
		return TooManyPixels
	}
	return ""
}

// Aspect refuses pictures whose longer side is more than Most times the shorter.
type Aspect struct {
	Most float64 `yaml:"most" json:"most"`
}

// DefaultAspect leaves out rules and banners.
var DefaultAspect = Aspect{Most: 4}

// Refuse returns the reason to refuse a picture.
func (a Aspect) Refuse(m Measures) string {
	if float64(max(m.W, m.H)) > a.Most*float64(min(m.W, m.H)) {
		return TooNarrow
	}
	return ""
}

// Flat refuses pictures on which there is next to nothing.
type Flat struct {
	MinEntropy   float64 `yaml:"min_entropy" json:"min_entropy"`     // bits
	MaxCommonest float64 `yaml:"max_commonest" json:"max_commonest"` // share of one colour
}

// DefaultFlat keeps line drawings.
var DefaultFlat = Flat{MinEntropy: 0.3, MaxCommonest: 0.985}

// Refuse returns the reason to refuse a picture.
func (f Flat) Refuse(m Measures) string {
	if m.Entropy < f.MinEntropy || m.Commonest > f.MaxCommonest {
		return IsFlat
	}
	return ""
}

// Animated refuses pictures of several frames, of which only the first would be seen.
type Animated struct{}

// Refuse returns the reason to refuse a picture.
func (Animated) Refuse(m Measures) string {
	if m.Animated {
		return IsAnimated
	}
	return ""
}
