// Package augment changes pictures of training at random after they were cropped: RandAugment, colour jitter, grey, blur.
//
// Each change is torchvision 0.29's on a PIL picture (Pillow 13): for the same parameters the same pixels, bit for bit,
// except for the blur, where torchvision adds floats in an order of its own and a few pixels differ by a level. Pictures
// are packed 8-bit RGB and are changed in place. Nothing here knows of files or datasets.
package augment

import (
	"math"

	"tandem/core/random"
)

// Config says what is done to a picture, in the order of the fields. The zero value does nothing.
type Config struct {
	// Ops operations of RandAugment (Cubuk et al. 2019, arXiv 1909.13719), each of Magnitude 0 … 30.
	Ops, Magnitude int
	// Jitter holds the strengths of brightness, contrast, saturation and hue of ColorJitter, which is made with
	// probability JitterProb.
	Jitter     [4]float64
	JitterProb float64
	// Grayscale is the probability that the picture becomes grey.
	Grayscale float64
	// Blur is the probability of a Gaussian blur. Its standard deviation is drawn from Sigma, in pixels.
	Blur  float64
	Sigma [2]float64
}

// Editor changes pictures and keeps its scratch memory between calls. It is not for concurrent use; each worker has its
// own. The zero value is ready.
type Editor struct {
	pix  []byte
	line []float32
	sum  []float32
}

// Augment changes w × h pixels in place as configured. stream returns the random numbers for a purpose; each part has a
// purpose of its own, so that none changes what another draws.
func (e *Editor) Augment(pix []byte, w, h int, c Config, stream func(purpose string) *random.Stream) {
	if c.Ops > 0 {
		e.randAugment(pix, w, h, c.Ops, c.Magnitude, stream("randaugment"))
	}
	if c.JitterProb > 0 {
		jitter(pix, c.Jitter, c.JitterProb, stream("color jitter"))
	}
	if c.Grayscale > 0 && stream("grayscale").Float64() < c.Grayscale {
		grayscale(pix)
	}
	if c.Blur > 0 {
		if s := stream("blur"); s.Float64() < c.Blur {
			e.blur(pix, w, h, kernelSize(min(w, h)), s.Range(c.Sigma[0], c.Sigma[1]))
		}
	}
}

// jitter does as torchvision's ColorJitter: the four changes in random order, brightness, contrast and saturation by
// factors from max(0, 1-strength) to 1+strength, hue by a shift from -strength to strength. A change of strength 0 is left
// out.
func jitter(pix []byte, strengths [4]float64, prob float64, s *random.Stream) {
	if s.Float64() >= prob {
		return
	}
	order := s.Perm(4)
	var by [4]float64
	for i, v := range strengths {
		if i == 3 {
			by[i] = s.Range(-v, v)
		} else {
			by[i] = s.Range(max(0, 1-v), 1+v)
		}
	}
	for _, i := range order {
		if strengths[i] == 0 {
			continue
		}
		switch i {
		case 0:
			brightness(pix, by[0])
		case 1:
			contrast(pix, by[1])
		case 2:
			saturation(pix, by[2])
		case 3:
			turnHue(pix, by[3])
		}
	}
}

// The operations of RandAugment in torchvision's order.
const (
	opIdentity = iota
	opShearX
	opShearY
	opTranslateX
	opTranslateY
	opRotate
	opBrightness
	opSaturation
	opContrast
	opSharpness
	opPosterize
	opSolarize
	opAutoContrast
	opEqualize
	opCount
)

// randAugment applies ops operations one after the other.
func (e *Editor) randAugment(pix []byte, w, h, ops, magnitude int, s *random.Stream) {
	for range ops {
		op := s.IntN(opCount)
		v, signed := strength(op, magnitude, w, h)
		if signed && s.IntN(2) == 1 {
			v = -v
		}
		e.apply(pix, w, h, op, v)
	}
}

// bins is the number of magnitudes.
const bins = 31

// strength returns what an operation does at a magnitude to a picture of w × h pixels, and whether its sign is drawn.
func strength(op, magnitude, w, h int) (v float64, signed bool) {
	switch op {
	case opShearX, opShearY:
		return between(0, .3, magnitude), true
	case opTranslateX:
		return between(0, 150./331*float64(w), magnitude), true
	case opTranslateY:
		return between(0, 150./331*float64(h), magnitude), true
	case opRotate:
		return between(0, 30, magnitude), true
	case opBrightness, opSaturation, opContrast, opSharpness:
		return between(0, .9, magnitude), true
	case opPosterize:
		return 8 - math.RoundToEven(float64(magnitude)/7.5), false
	case opSolarize:
		return between(255, 0, magnitude), false
	}
	return 0, false
}

// between returns value i of torch.linspace(from, to, bins), which computes from the nearer end in single precision with
// fused multiply-adds.
func between(from, to float64, i int) float64 {
	lo, hi := float32(from), float32(to)
	step := (hi - lo) / (bins - 1)
	if i < bins/2 {
		return float64(float32(float64(lo) + float64(step)*float64(i)))
	}
	return float64(float32(float64(hi) - float64(step)*float64(bins-1-i)))
}

// apply makes one operation of strength v.
func (e *Editor) apply(pix []byte, w, h, op int, v float64) {
	switch op {
	case opShearX:
		e.affine(pix, w, h, [6]float64{1, math.Tan(slope(v)), 0, 0, 1, 0})
	case opShearY:
		e.affine(pix, w, h, [6]float64{1, 0, 0, math.Sin(slope(v)) / math.Cos(slope(v)), 1, 0})
	case opTranslateX:
		e.affine(pix, w, h, [6]float64{1, 0, -math.Trunc(v), 0, 1, 0})
	case opTranslateY:
		e.affine(pix, w, h, [6]float64{1, 0, 0, 0, 1, -math.Trunc(v)})
	case opRotate:
		e.rotate(pix, w, h, v)
	case opBrightness:
		brightness(pix, 1+v)
	case opSaturation:
		saturation(pix, 1+v)
	case opContrast:
		contrast(pix, 1+v)
	case opSharpness:
		e.sharpen(pix, w, h, 1+v)
	case opPosterize:
		posterize(pix, int(v))
	case opSolarize:
		solarize(pix, v)
	case opAutoContrast:
		autoContrast(pix)
	case opEqualize:
		equalize(pix)
	}
}

// slope returns the angle of a shear, which torchvision takes to degrees and back.
func slope(v float64) float64 {
	return float64(float64(math.Atan(v)*(180/math.Pi)) * (math.Pi / 180))
}
