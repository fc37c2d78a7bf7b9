// Package corrupt spoils pictures by degrees, to measure how much of a model's accuracy is left: noise, blur, JPEG, rotation,
// brightness and contrast.
//
// The corruptions are those of ImageNet-C (Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common
// Corruptions and Perturbations", with the numbers of their make_imagenet_c.py), of those that are defined for any size, and
// applied to the crop that the model gets instead of to the file. Their random numbers are this project's. What else differs is
// said of each kind. Pictures are packed 8-bit RGB and are changed in place.
package corrupt

import (
	"bytes"
	"image/jpeg"
	"math"

	"tandem/core/media/vision"
	"tandem/core/random"
)

// Severities is how many severities there are: 1 … Severities.
const Severities = 5

// kind is one corruption.
type kind struct {
	name     string
	strength [Severities]float64
	apply    func(pix []byte, side int, strength float64, s *random.Stream)
}

var kinds = []kind{
	{"gaussian_noise", [...]float64{.08, .12, .18, .26, .38}, gaussianNoise},
	{"impulse_noise", [...]float64{.03, .06, .09, .17, .27}, impulseNoise},
	{"gaussian_blur", [...]float64{1, 2, 3, 4, 6}, gaussianBlur},
	{"jpeg", [...]float64{25, 18, 15, 10, 7}, compress},
	{"rotation", [...]float64{5, 10, 15, 20, 30}, rotation},
	{"brightness", [...]float64{.1, .2, .3, .4, .5}, brightness},
	{"contrast", [...]float64{.4, .3, .2, .1, .05}, contrast},
}

// Kinds returns the names of the corruptions.
func Kinds() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.name
	}
	return names
}

// Apply spoils a picture of side × side pixels. key says which picture it is, so that it is spoilt in the same way each time and
// others in other ways. It panics for a kind or severity that there is not.
//
//	gaussian_noise  adds N(0, σ) to each value, σ in units of the range
//	impulse_noise   makes each value 0 or 255 with a probability
//	gaussian_blur   has a standard deviation in pixels of a picture with side 224, and less of smaller ones in proportion
//	                (ImageNet-C has pictures of 224 alone)
//	jpeg            encodes with a quality, 4:2:0; ImageNet-C uses libjpeg, this Go's encoder, which has the same tables
//	rotation        turns about the centre by degrees, left or right at random, bilinear, with black corners; it is not of
//	                ImageNet-C
//	brightness      adds to the value of HSV
//	contrast        moves the values towards the mean of their channel
func Apply(name string, severity int, pix []byte, side int, seed uint64, key string) {
	for _, k := range kinds {
		if k.name == name {
			k.apply(pix, side, k.strength[severity-1], random.New(seed, "corrupt "+name+" "+key, severity))
			return
		}
	}
	panic("corrupt: no kind " + name)
}

// level turns a value of 0 … 1 into 0 … 255, cutting it as numpy.uint8 does.
func level(v float64) byte { return byte(min(max(v, 0), 1) * 255) }

func gaussianNoise(pix []byte, _ int, sigma float64, s *random.Stream) {
	for i := range pix {
		// Box and Muller 1958; the second number of each pair is left, for shortness.
		normal := math.Sqrt(-2*math.Log(1-s.Float64())) * math.Cos(2*math.Pi*s.Float64())
		pix[i] = level(float64(pix[i])/255 + sigma*normal)
	}
}

func impulseNoise(pix []byte, _ int, amount float64, s *random.Stream) {
	for i := range pix {
		if s.Float64() < amount {
			pix[i] = byte(255 * (s.Uint64() >> 63))
		}
	}
}

// gaussianBlur does as skimage.filters.gaussian: a kernel of four standard deviations to each side, edges repeated.
func gaussianBlur(pix []byte, side int, sigma float64, _ *random.Stream) {
	sigma *= float64(side) / 224
	radius := int(4*sigma + .5)
	taps := make([]float64, 2*radius+1)
	sum := 0.0
	for i := range taps {
		x := float64(i-radius) / sigma
		taps[i] = math.Exp(-.5 * x * x)
		sum += taps[i]
	}
	for i := range taps {
		taps[i] /= sum
	}
	values := make([]float64, len(pix))
	for i, v := range pix {
		values[i] = float64(v)
	}
	at := func(i int) int { return min(max(i, 0), side-1) }
	work := make([]float64, len(pix))
	for y := range side {
		row := work[3*side*y:][:3*side]
		for k, tap := range taps {
			for i, v := range values[3*side*at(y+k-radius):][:3*side] {
				row[i] += tap * v
			}
		}
	}
	for y := range side {
		row := work[3*side*y:][:3*side]
		for x := range side {
			for c := range 3 {
				sum := 0.0
				for k, tap := range taps {
					sum += tap * row[3*at(x+k-radius)+c]
				}
				pix[3*(side*y+x)+c] = level((sum + 1e-9) / 255) // an even surface keeps its level
			}
		}
	}
}

func compress(pix []byte, side int, quality float64, _ *random.Stream) {
	p := vision.Picture{Pix: pix, Stride: 3 * side, W: side, H: side}
	var file bytes.Buffer
	if err := jpeg.Encode(&file, p.Image(), &jpeg.Options{Quality: int(quality)}); err != nil {
		panic("corrupt: " + err.Error()) // a buffer takes all
	}
	q, err := vision.Decode(file.Bytes(), vision.Options{})
	if err != nil {
		panic("corrupt: " + err.Error()) // it was just encoded
	}
	for y := range side {
		copy(pix[3*side*y:], q.Row(y))
	}
	vision.Recycle(q)
}

// rotation does as Pillow's rotate with bilinear interpolation.
func rotation(pix []byte, side int, degrees float64, s *random.Stream) {
	if s.Float64() < .5 {
		degrees = -degrees
	}
	rotate(pix, side, degrees)
}

// rotate turns counter-clockwise.
func rotate(pix []byte, side int, degrees float64) {
	src := bytes.Clone(pix)
	sin, cos := math.Sincos(-degrees * math.Pi / 180)
	centre := float64(side) / 2
	for y := range side {
		for x := range side {
			dx, dy := float64(x)+.5-centre, float64(y)+.5-centre
			fx, fy := cos*dx+sin*dy+centre, cos*dy-sin*dx+centre
			out := pix[3*(side*y+x):][:3]
			if fx < 0 || fx >= float64(side) || fy < 0 || fy >= float64(side) {
				clear(out)
				continue
			}
			fx, fy = fx-.5, fy-.5
			x0, y0 := int(math.Floor(fx)), int(math.Floor(fy))
			tx, ty := fx-float64(x0), fy-float64(y0)
			left, right := 3*max(x0, 0), 3*min(x0+1, side-1)
			above, below := src[3*side*max(y0, 0):], src[3*side*min(y0+1, side-1):]
			for c := range 3 {
				a := float64(above[left+c])*(1-tx) + float64(above[right+c])*tx
				b := float64(below[left+c])*(1-tx) + float64(below[right+c])*tx
				out[c] = byte(a*(1-ty) + b*ty)
			}
		}
	}
}

// brightness adds to the value of HSV, which is the greatest of the three: hue and saturation stay, so all three grow in proportion.
func brightness(pix []byte, _ int, more float64, _ *random.Stream) {
	for i := 0; i < len(pix); i += 3 {
		p := pix[i : i+3]
		value := float64(max(p[0], p[1], p[2])) / 255
		wanted := min(value+more, 1)
		for c, v := range p {
			if value == 0 {
				p[c] = level(wanted)
			} else {
				p[c] = level(float64(v) / 255 * wanted / value)
			}
		}
	}
}

func contrast(pix []byte, side int, left float64, _ *random.Stream) {
	var mean [3]float64
	for i, v := range pix {
		mean[i%3] += float64(v) / 255
	}
	for c := range mean {
		mean[c] /= float64(side * side)
	}
	for i, v := range pix {
		pix[i] = level((float64(v)/255-mean[i%3])*left + mean[i%3])
	}
}
