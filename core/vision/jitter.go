package vision

import "tandem/core/random"

// Jitter changes brightness, contrast and saturation of packed RGB in place, in that order, each by a
// factor drawn uniformly from 1-strength … 1+strength (torchvision's ColorJitter without hue, in a
// fixed order). strength is in [0, 1].
func Jitter(pix []byte, s *random.Stream, strength float64) {
	lo, hi := 1-strength, 1+strength
	brightness, contrast, saturation := float32(s.Range(lo, hi)), float32(s.Range(lo, hi)), float32(s.Range(lo, hi))
	mean := float32(0)
	for i := 0; i+2 < len(pix); i += 3 {
		mean += min(luma(pix[i:])*brightness, 255)
	}
	mean /= float32(max(1, len(pix)/3))
	for i := 0; i+2 < len(pix); i += 3 {
		var v [3]float32
		for c := range v {
			v[c] = clip255(mean + (clip255(float32(pix[i+c])*brightness)-mean)*contrast)
		}
		grey := .299*v[0] + .587*v[1] + .114*v[2]
		for c := range v {
			pix[i+c] = byte(clip255(grey+(v[c]-grey)*saturation) + .5)
		}
	}
}

func luma(p []byte) float32 {
	return .299*float32(p[0]) + .587*float32(p[1]) + .114*float32(p[2])
}

func clip255(v float32) float32 { return min(max(v, 0), 255) }
