package augment

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash"
	"math"
	"os"
	"testing"

	"tandem/core/random"
)

// goldens holds what tools/goldens/vision/augment.py makes with torchvision and Pillow.
type goldens struct {
	Factors, Hues []float64
	Pictures      []struct {
		Kind                                                        string
		W, H                                                        int
		Brightness, Contrast, Saturation, Hue, Sharpness, Grayscale string
		RandAugment                                                 map[string]string
	}
	Strengths []string
	Grid, All string
	Blur      []struct {
		Kind       string
		W, H, Size int
		Sigma      float64
		RGB        []byte
	}
}

func load(t *testing.T) (g goldens) {
	t.Helper()
	data, err := os.ReadFile("testdata/golden.json")
	if err == nil {
		err = json.Unmarshal(data, &g)
	}
	if err != nil || len(g.Pictures) < 8 || len(g.Strengths) != 31 || len(g.Blur) < 5 {
		t.Fatalf("goldens: %v", err)
	}
	return g
}

// picture draws the pictures of the goldens' generator.
func picture(kind string, w, h int) []byte {
	n, pix := 12345, make([]byte, 3*w*h)
	for i := range pix {
		n = (n*1103515245 + 12345) & 0x7fffffff
		v, at, c := n>>16&255, i/3, i%3
		switch kind {
		case "noise":
			if i/15%2 == 0 {
				v = (v >> 7) * 255
			}
		case "soft":
			v = 40 + (at%w*3+at/w*2+c*17+(v>>5))%150
		case "flat":
			v = 90 + 20*c
		case "few":
			v = (v>>6)*60 + c
		}
		pix[i] = byte(v)
	}
	return pix
}

func sum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)[:16]) }

var opNames = []string{"Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast", "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize"}

func TestEveryChangeIsTorchvisions(t *testing.T) {
	g := load(t)
	var e Editor // one for all cases: stale scratch must not show
	for _, p := range g.Pictures {
		check := func(what, want string, values []float64, change func(pix []byte, v float64)) {
			h := sha256.New()
			for _, v := range values {
				pix := picture(p.Kind, p.W, p.H)
				change(pix, v)
				h.Write(pix)
			}
			if sum(h) != want {
				t.Errorf("%s of %s, %d × %d: not torchvision's pixels", what, p.Kind, p.W, p.H)
			}
		}
		check("brightness", p.Brightness, g.Factors, brightness)
		check("contrast", p.Contrast, g.Factors, contrast)
		check("saturation", p.Saturation, g.Factors, saturation)
		check("hue", p.Hue, g.Hues, turnHue)
		check("sharpness", p.Sharpness, g.Factors, func(pix []byte, v float64) { e.sharpen(pix, p.W, p.H, v) })
		check("grey", p.Grayscale, []float64{0}, func(pix []byte, _ float64) { grayscale(pix) })
		if len(p.RandAugment) != opCount || len(opNames) != opCount {
			t.Fatalf("%d operations", len(p.RandAugment))
		}
		for op, name := range opNames {
			var values []float64
			for m := range bins {
				v, signed := strength(op, m, p.W, p.H)
				if values = append(values, v); signed {
					values = append(values, -v)
				}
			}
			check(name, p.RandAugment[name], values, func(pix []byte, v float64) { e.apply(pix, p.W, p.H, op, v) })
		}
	}
}

func TestMagnitudesAreTorchvisionsForEverySize(t *testing.T) {
	for m, want := range load(t).Strengths {
		h := sha256.New()
		for size := 1; size <= 1024; size++ {
			for op := range opCount {
				v, _ := strength(op, m, size+7, size)
				h.Write(binary.LittleEndian.AppendUint64(nil, math.Float64bits(v)))
			}
		}
		if sum(h) != want {
			t.Errorf("magnitude %d", m)
		}
	}
}

func TestHueIsPillowsForColoursOfAllKinds(t *testing.T) {
	h := sha256.New()
	for turn := range 65 {
		var pix []byte
		for r := 0; r < 256; r += 5 {
			for g := 0; g < 256; g += 5 {
				for b := 0; b < 256; b += 5 {
					pix = append(pix, byte(r), byte(g), byte(b))
				}
			}
		}
		turnHue(pix, float64(turn)/64-.5)
		h.Write(pix)
	}
	if g := load(t); sum(h) != g.Grid {
		t.Error("not Pillow's colours")
	}
}

// TestTheTablesOfHueAreTheConversions holds every colour of HSV against the conversions that the tables come from.
func TestTheTablesOfHueAreTheConversions(t *testing.T) {
	step := 3
	if os.Getenv("TANDEM_LONG") != "" {
		step = 1
	}
	pix := make([]byte, 3)
	for r := 0; r < 256; r += step {
		for g := 0; g < 256; g += step {
			for b := 0; b < 256; b += step {
				turn := byte(r*7 + g*13 + b*29)
				h, s, v := hsv(byte(r), byte(g), byte(b))
				x, y, z := rgb(h+turn, s, v)
				pix[0], pix[1], pix[2] = byte(r), byte(g), byte(b)
				turnHue(pix, float64(int8(turn))/255*(1+1e-12))
				if pix[0] != x || pix[1] != y || pix[2] != z {
					t.Fatalf("%d %d %d turned by %d: %v, want %d %d %d", r, g, b, turn, pix, x, y, z)
				}
			}
		}
	}
}

func TestHueIsPillowsForEveryColour(t *testing.T) {
	if os.Getenv("TANDEM_LONG") == "" {
		t.Skip("takes seconds; TANDEM_LONG=1 runs it")
	}
	pix := make([]byte, 3<<24)
	for i := range 1 << 24 {
		pix[3*i], pix[3*i+1], pix[3*i+2] = byte(i>>16), byte(i>>8), byte(i)
	}
	turnHue(pix, .1)
	h := sha256.New()
	h.Write(pix)
	if g := load(t); sum(h) != g.All {
		t.Error("not Pillow's colours")
	}
}

func TestBlurIsTorchvisionsUpToARounding(t *testing.T) {
	var e Editor
	for _, b := range load(t).Blur {
		pix := picture(b.Kind, b.W, b.H)
		e.blur(pix, b.W, b.H, b.Size, b.Sigma)
		differ := 0
		for i, v := range pix {
			if d := int(v) - int(b.RGB[i]); d != 0 {
				if differ++; d < -1 || d > 1 {
					t.Fatalf("%+v: sample %d is %d, want %d", b.Sigma, i, v, b.RGB[i])
				}
			}
		}
		if differ > len(pix)/500 {
			t.Errorf("%s, kernel %d, sigma %v: %d of %d samples differ", b.Kind, b.Size, b.Sigma, differ, len(pix))
		}
	}
	if kernelSize(224) != 23 || kernelSize(256) != 25 || kernelSize(32) != 3 || kernelSize(8) != 1 {
		t.Error("kernel sizes")
	}
}

func TestBothCodesOfTheBlurAgree(t *testing.T) {
	if !vectorised {
		t.Skip("there is one alone")
	}
	defer func() { vectorised = true }()
	var e Editor
	for _, c := range [][3]int{{31, 23, 3}, {64, 64, 7}, {224, 30, 23}, {9, 50, 5}, {11, 11, 9}, {3, 3, 3}, {12, 12, 23}, {1, 5, 3}, {300, 300, 31}} {
		for _, sigma := range []float64{.1, .7, 2, 50} {
			want, got := picture("noise", c[0], c[1]), picture("noise", c[0], c[1])
			vectorised = false
			e.blur(want, c[0], c[1], c[2], sigma)
			vectorised = true
			if e.blur(got, c[0], c[1], c[2], sigma); !bytes.Equal(got, want) {
				t.Errorf("%v, sigma %v", c, sigma)
			}
		}
	}
}

func streams(seed uint64) func(string) *random.Stream {
	return func(purpose string) *random.Stream { return random.New(seed, purpose) }
}

func TestWhatIsDrawnFollowsTheConfiguration(t *testing.T) {
	var e Editor
	original := picture("soft", 20, 20)
	after := func(seed uint64, c Config) []byte {
		pix := bytes.Clone(original)
		e.Augment(pix, 20, 20, c, streams(seed))
		return pix
	}
	count := func(c Config, is func(pix []byte) bool) (n int) {
		for seed := range uint64(1000) {
			if is(after(seed, c)) {
				n++
			}
		}
		return n
	}
	same := func(pix []byte) bool { return bytes.Equal(pix, original) }
	isGrey := func(pix []byte) bool { return pix[0] == pix[1] && pix[1] == pix[2] && pix[3] == pix[4] }
	if n := count(Config{}, same); n != 1000 {
		t.Errorf("nothing is asked for, and %d pictures change", 1000-n)
	}
	for what, got := range map[string]int{
		"grey":   count(Config{Grayscale: .2}, isGrey),
		"blur":   1000 - count(Config{Blur: .2, Sigma: [2]float64{.5, 2}}, same),
		"jitter": 1000 - count(Config{Jitter: [4]float64{.4, .4, .4, .1}, JitterProb: .2}, same),
	} {
		if got < 150 || got > 250 {
			t.Errorf("%s with probability .2: %d of 1000", what, got)
		}
	}
	if n := count(Config{Ops: 2, Magnitude: 9}, same); n > 100 {
		t.Errorf("two operations leave %d of 1000 pictures", n)
	}
	// What one part draws does not depend on the others.
	both := after(7, Config{Grayscale: 1, Jitter: [4]float64{.4, .4, .4, .1}, JitterProb: 1})
	one := after(7, Config{Jitter: [4]float64{.4, .4, .4, .1}, JitterProb: 1})
	if grayscale(one); !bytes.Equal(both, one) {
		t.Error("grey changes what jitter draws")
	}
}

// TestAPartIsTheSameEverywhere holds the results of 200 seeds. Those of the Python SDK (tests/test_augment.py) are the same.
func TestAPartIsTheSameEverywhere(t *testing.T) {
	for _, c := range []struct {
		part, want string
		config     Config
	}{
		{"randaugment", "f40ae88945d29675a7e7b715ca29c560", Config{Ops: 3, Magnitude: 13}},
		{"color jitter", "7dee651b8673c6385332dcdeda96c390", Config{Jitter: [4]float64{.4, .3, .5, .2}, JitterProb: .9}},
		{"grayscale", "19c4cf4acc5a6bd22b1b64b3171821e7", Config{Grayscale: .3}},
		{"blur", "8863a092ca14ec2294c244f8944f43d2", Config{Blur: .7, Sigma: [2]float64{.1, 2}}},
	} {
		h := sha256.New()
		var e Editor
		for seed := range uint64(200) {
			pix := picture("soft", 64, 64)
			e.Augment(pix, 64, 64, c.config, streams(seed))
			h.Write(pix)
		}
		if got := sum(h); got != c.want {
			t.Errorf("%s: %s, want %s", c.part, got, c.want)
		}
	}
}

// TestJitterIsMadeInTheOrderDrawn holds the draws against a jitter made step by step.
func TestJitterIsMadeInTheOrderDrawn(t *testing.T) {
	strengths := [4]float64{.4, .3, .2, .1}
	orders := map[[4]int]bool{}
	for seed := range uint64(200) {
		got := picture("soft", 12, 9)
		jitter(got, strengths, 1, random.New(seed, "j"))
		s := random.New(seed, "j")
		s.Float64()
		order := s.Perm(4)
		b, c, sat, hue := s.Range(.6, 1.4), s.Range(.7, 1.3), s.Range(.8, 1.2), s.Range(-.1, .1)
		want := picture("soft", 12, 9)
		for _, i := range order {
			[]func(){func() { brightness(want, b) }, func() { contrast(want, c) }, func() { saturation(want, sat) }, func() { turnHue(want, hue) }}[i]()
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("seed %d, order %v", seed, order)
		}
		orders[[4]int(order)] = true
	}
	if len(orders) != 24 {
		t.Errorf("%d of 24 orders", len(orders))
	}
}

func BenchmarkAugment(b *testing.B) {
	original := picture("soft", 224, 224)
	pix := bytes.Clone(original)
	var e Editor
	for name, c := range map[string]Config{
		"jitter": {Jitter: [4]float64{.4, .4, .4, .1}, JitterProb: 1}, "blur": {Blur: 1, Sigma: [2]float64{.1, 2}}, "randaugment": {Ops: 2, Magnitude: 9},
	} {
		b.Run(name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				copy(pix, original)
				e.Augment(pix, 224, 224, c, streams(uint64(i)))
			}
		})
	}
}
