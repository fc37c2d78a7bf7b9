package corrupt

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"testing"
)

// golden holds what numpy, scipy and Pillow give (tools/goldens/vision/corrupt.py).
type golden struct {
	Side    int
	Picture []byte
	Want    map[string][][]byte
}

func loadGolden(t *testing.T) (g golden) {
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// differ returns the mean and the greatest difference of two pictures, in levels.
func differ(a, b []byte) (mean float64, most int) {
	for i := range a {
		d := int(a[i]) - int(b[i])
		d = max(d, -d)
		mean += float64(d) / float64(len(a))
		most = max(most, d)
	}
	return mean, most
}

func TestCorruptionsAreImageNetCs(t *testing.T) {
	g := loadGolden(t)
	for name, levels := range g.Want {
		for i, want := range levels {
			got := bytes.Clone(g.Picture)
			if name == "rotation" {
				rotate(got, g.Side, [...]float64{5, -10, 15, 20, 30}[i])
			} else {
				Apply(name, i+1, got, g.Side, 1, "a")
			}
			mean, most := differ(got, want)
			limit, atMost := .02, 1 // floats that fall on the other side of a whole number
			switch name {
			case "gaussian_blur":
				limit = .5 // sums of whole numbers come out above or below them
			case "jpeg":
				limit, atMost = 2.5, 40 // another discrete cosine transform, and without libjpeg-turbo another way to enlarge the colours
			}
			if t.Logf("%s %d: mean %.4f, most %d", name, i+1, mean, most); mean > limit || most > atMost {
				t.Errorf("%s %d is off by %g levels, at most %d", name, i+1, mean, most)
			}
			if changed, _ := differ(g.Picture, want); changed < 3 && name != "gaussian_blur" {
				t.Errorf("%s %d changes by %g levels only: the test sees nothing", name, i+1, changed)
			}
		}
	}
}

func TestNoiseHasItsStrength(t *testing.T) {
	const side = 64
	for i, sigma := range []float64{.08, .12} {
		pix := bytes.Repeat([]byte{128}, 3*side*side)
		Apply("gaussian_noise", i+1, pix, side, 1, "a")
		var sum, squares float64
		for _, v := range pix {
			d := float64(v)/255 - float64(127.5)/255 // cutting takes half a level
			sum += d
			squares += d * d
		}
		n := float64(len(pix))
		if mean, std := sum/n, math.Sqrt(squares/n-sum/n*sum/n); math.Abs(mean) > .003 || math.Abs(std-sigma) > .003 {
			t.Errorf("severity %d: mean %g, standard deviation %g", i+1, mean, std)
		}
	}
	for i, amount := range []float64{.03, .06, .09, .17, .27} {
		pix := bytes.Repeat([]byte{128}, 3*side*side)
		Apply("impulse_noise", i+1, pix, side, 1, "a")
		black, white := bytes.Count(pix, []byte{0}), bytes.Count(pix, []byte{255})
		if n := float64(len(pix)); math.Abs(float64(black)/n-amount/2) > .01 || math.Abs(float64(white)/n-amount/2) > .01 {
			t.Errorf("severity %d: %d black, %d white", i+1, black, white)
		}
	}
}

func TestPicturesAreSpoiltTheSameEachTime(t *testing.T) {
	g := loadGolden(t)
	spoil := func(name string, severity int, key string) []byte {
		pix := bytes.Clone(g.Picture)
		Apply(name, severity, pix, g.Side, 7, key)
		return pix
	}
	for _, name := range Kinds() {
		once := spoil(name, 3, "a")
		if !bytes.Equal(once, spoil(name, 3, "a")) {
			t.Errorf("%s differs from time to time", name)
		}
		if bytes.Equal(once, g.Picture) {
			t.Errorf("%s changes nothing", name)
		}
	}
	for _, name := range []string{"gaussian_noise", "impulse_noise"} {
		if bytes.Equal(spoil(name, 3, "a"), spoil(name, 3, "b")) {
			t.Errorf("%s is the same for two pictures", name)
		}
	}
}

func TestSeverityGrows(t *testing.T) {
	g := loadGolden(t)
	for _, name := range Kinds() {
		last := 0.0
		for severity := 1; severity <= Severities; severity++ {
			pix := bytes.Clone(g.Picture)
			Apply(name, severity, pix, g.Side, 7, "a")
			change, _ := differ(pix, g.Picture)
			if change < last {
				t.Errorf("%s changes by %g at severity %d and by %g before", name, change, severity, last)
			}
			last = change
		}
	}
}
