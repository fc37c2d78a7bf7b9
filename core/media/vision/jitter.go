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
	var level [256]float32 // each byte with brightness and contrast changed
	for v := range level {
		level[v] = clip255(mean + (clip255(float32(v)*brightness)-mean)*contrast)
	}
	for i := 0; i+2 < len(pix); i += 3 {
		p := pix[i:][:3]
		r, g, b := level[p[0]], level[p[1]], level[p[2]]
		grey := .299*r + .587*g + .114*b
		p[0] = byte(clip255(grey+(r-grey)*saturation) + .5)
		p[1] = byte(clip255(grey+(g-grey)*saturation) + .5)
		p[2] = byte(clip255(grey+(b-grey)*saturation) + .5)
	}
}

func luma(p []byte) float32 {
	return .299*float32(p[0]) + .587*float32(p[1]) + .114*float32(p[2])
}

// clip255 clamps v to [0, 255]. v is never NaN.
func clip255(v float32) float32 {
	if v < 0 {
		return 0
	}
	if v > 255 {
		return 255
	}
	return v
}
