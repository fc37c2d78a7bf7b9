package nn

import (
	"math"
	"slices"
	"testing"
)

func fill(in Init, seed uint64, name string, threads int, shape ...int) []float32 {
	out := make([]float32, elements(shape))
	in.Fill(out, 0, seed, name, shape, threads)
	return out
}

// Spread and range of every distribution, on enough values for the tolerance to mean something: the
// standard error of a standard deviation over n values is under std/√n.
func TestInitDistributions(t *testing.T) {
	shape := []int{384, 512}
	for name, c := range map[string]struct {
		in         Init
		std, bound float64
	}{
		"normal":      {Normal(.02), .02, math.Inf(1)},
		"uniform":     {Uniform(.5), .5 / math.Sqrt(3), .5},
		"xavier":      {XavierUniform, math.Sqrt(2. / (384 + 512)), math.Sqrt(6. / (384 + 512))},
		"fan in":      {FanIn, 1 / math.Sqrt(3*512), 1 / math.Sqrt(512)},
		"bias of 512": {BiasOf(512), 1 / math.Sqrt(3*512), 1 / math.Sqrt(512)},
	} {
		t.Run(name, func(t *testing.T) {
			v := fill(c.in, 1, "w", 2, shape...)
			var sum, squares, largest float64
			for _, x := range v {
				sum += float64(x)
				squares += float64(x) * float64(x)
				largest = max(largest, math.Abs(float64(x)))
			}
			n := float64(len(v))
			if mean := sum / n; math.Abs(mean) > 5*c.std/math.Sqrt(n) {
				t.Errorf("mean %g", mean)
			}
			if std := math.Sqrt(squares / n); math.Abs(std/c.std-1) > 5/math.Sqrt(n) {
				t.Errorf("standard deviation %g, want %g", std, c.std)
			}
			if got := c.in.Std(shape); math.Abs(got/c.std-1) > 1e-12 {
				t.Errorf("Std says %g, want %g", got, c.std)
			}
			if largest > c.bound*(1+1e-6) {
				t.Errorf("largest value %g is beyond %g", largest, c.bound)
			}
		})
	}
	if v := fill(Constant(3), 1, "w", 1, 4); !slices.Equal(v, []float32{3, 3, 3, 3}) {
		t.Errorf("constant gave %v", v)
	}
}

// A convolution's fan in is in·kh·kw.
func TestFanInOfConvolution(t *testing.T) {
	if got, want := FanIn.Std([]int{8, 4, 3, 3}), 1/math.Sqrt(3*36); math.Abs(got-want) > 1e-12 {
		t.Errorf("std %g, want %g", got, want)
	}
}

// The values depend on the seed and the name, and on nothing else.
func TestInitStreams(t *testing.T) {
	n := chunk*2 + 77
	a := fill(Normal(1), 1, "a", 1, n)
	if !slices.Equal(a, fill(Normal(1), 1, "a", 3, n)) {
		t.Error("the number of threads changes the values")
	}
	if slices.Equal(a, fill(Normal(1), 2, "a", 1, n)) {
		t.Error("the seed does not change the values")
	}
	if slices.Equal(a, fill(Normal(1), 1, "b", 1, n)) {
		t.Error("the name does not change the values")
	}
	pieces := make([]float32, n)
	for from := 0; from < n; from += chunk {
		Normal(1).Fill(pieces[from:min(n, from+chunk)], from, 1, "a", []int{n}, 2)
	}
	if !slices.Equal(a, pieces) {
		t.Error("filling in pieces changes the values")
	}
	if slices.Equal(a[:chunk], a[chunk:2*chunk]) {
		t.Error("chunks repeat")
	}
}

func TestStreamsDifferByPosition(t *testing.T) {
	draw := func(position ...int) uint64 { return Stream(7, "patch dropout", position...).Uint64() }
	first, again := draw(1, 2), draw(1, 2)
	if first != again {
		t.Error("a stream does not repeat")
	}
	if draw(1, 2) == draw(2, 1) || draw(1, 2) == draw(1, 3) {
		t.Error("positions share a stream")
	}
}

func TestParameterNamedTwicePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	var s Set
	s.Param("w", Zeros, 1)
	s.Stat("w", 0, 1)
}

// Biases and norms are never decayed, embeddings on request.
func TestDecay(t *testing.T) {
	var s Set
	w, b, e := s.Param("w", FanIn, 2, 3), s.Param("b", Zeros, 3), s.Embedding("e", Normal(1), 4, 3)
	c := s.Embedding("class", Normal(1), 3)
	for _, x := range []struct {
		p               *Param
		plain, withEmbs bool
	}{{w, true, true}, {b, false, false}, {e, false, true}, {c, false, false}} {
		if x.p.Decayed(false) != x.plain || x.p.Decayed(true) != x.withEmbs {
			t.Errorf("%s: decayed %v and %v, want %v and %v", x.p.Name, x.p.Decayed(false), x.p.Decayed(true), x.plain, x.withEmbs)
		}
	}
	if s.Count() != 6+3+12+3 {
		t.Errorf("%d scalars", s.Count())
	}
}
