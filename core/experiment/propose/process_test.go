package propose

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/mat"

	"tandem/core/random"
)

// sample returns n random points of x, and their even values.
func sample(x problem, n int) (choice []bool, at [][]float64, values []float64) {
	for i := range n {
		p := x.space.Random(9, i)
		at = append(at, x.space.coordinates(p)[0])
		values = append(values, x.cost(p))
	}
	return x.space.choices(), at, even(values)
}

// dense returns the covariance of points with the noise of values, written out from the formula of Matérn's kernel.
func dense(p *process, at [][]float64) *mat.Dense {
	k := mat.NewDense(len(at), len(at), nil)
	for i, a := range at {
		for j, b := range at {
			d := 0.0
			for c := range a {
				if p.choice[c] {
					if a[c] != b[c] {
						d += math.Pow(p.length[c], -2)
					}
				} else {
					d += math.Pow((a[c]-b[c])/p.length[c], 2)
				}
			}
			v := p.scale * (1 + math.Sqrt(5*d) + 5*d/3) * math.Exp(-math.Sqrt(5*d))
			if i == j {
				v += p.scale * p.noise
			}
			k.Set(i, j, v)
		}
	}
	return k
}

func TestAPredictionIsThatOfTheDenseFormula(t *testing.T) {
	for _, x := range problems {
		choice, at, values := sample(x, 25)
		p := newProcess(choice, at, values)
		check := func(name string, known [][]float64, values []float64) {
			n := len(known)
			var inverse mat.Dense
			if err := inverse.Inverse(dense(p, known)); err != nil {
				t.Fatal(err)
			}
			for i := range 20 {
				at := x.space.coordinates(x.space.Random(10, i))[0]
				all := dense(p, append([][]float64{at}, known...))
				mean, variance := p.mean, p.scale
				for a := range n {
					for b := range n {
						mean += all.At(0, a+1) * inverse.At(a, b) * (values[b] - p.mean)
						variance -= all.At(0, a+1) * inverse.At(a, b) * all.At(0, b+1)
					}
				}
				gotMean, got := p.predict(at)
				if math.Abs(gotMean-mean) > 1e-6 || math.Abs(got*got-variance) > 1e-6 {
					t.Errorf("%s, %s: mean %v and variance %v, want %v and %v", x.name, name, gotMean, got*got, mean, variance)
				}
			}
		}
		check("fitted", at, values)

		var believed [][]float64
		values = append([]float64{}, values...)
		for i := range 3 {
			b := x.space.coordinates(x.space.Random(11, i))[0]
			mean, _ := p.predict(b)
			believed, values = append(believed, b), append(values, mean)
		}
		p.believe(believed)
		check("believed", append(at, believed...), values)
	}
}

func TestTheGradientOfAFitIsThatOfFiniteDifferences(t *testing.T) {
	for _, x := range problems {
		choice, at, values := sample(x, 15)
		f := newFit(&process{choice: choice, at: at, values: values, length: make([]float64, len(choice))})
		for _, shift := range []float64{0, -1.5, -3} {
			theta := f.start(shift)
			for i := range theta {
				theta[i] += .3 * float64(i%3)
			}
			grad := make([]float64, len(theta))
			f.gradient(grad, theta)
			for i := range theta {
				const h = 1e-5
				up, down := append([]float64{}, theta...), append([]float64{}, theta...)
				up[i], down[i] = up[i]+h, down[i]-h
				want := (f.loss(up) - f.loss(down)) / (2 * h)
				if math.Abs(grad[i]-want) > 1e-5*(1+math.Abs(want)) {
					t.Errorf("%s, hyperparameter %d: %v, want %v", x.name, i, grad[i], want)
				}
			}
		}
	}
}

// Only the first of four coordinates matters, and values have noise.
func TestAFitTellsWhatMatters(t *testing.T) {
	s := random.New(1, "matters")
	var at [][]float64
	var values []float64
	for range 60 {
		x := []float64{s.Float64(), s.Float64(), s.Float64(), float64(s.IntN(3))}
		at = append(at, x)
		values = append(values, math.Sin(6*x[0])+.3*quantile(s.Float64()))
	}
	p := newProcess([]bool{false, false, false, true}, at, even(values))
	for i := 1; i < 4; i++ {
		if p.length[i] < 2*p.length[0] {
			t.Errorf("lengths %v: the first should be the shortest by far", p.length)
		}
	}
	if share := p.noise * p.scale; share < .05 || share > .4 { // .09 of .09 + .5
		t.Errorf("the noise's variance is %v", share)
	}
}

func TestExpectedImprovementHoldsFarBelowZero(t *testing.T) {
	for _, z := range []float64{-9.999, -4, -1, 0, 2, 8} {
		sum, step := 0.0, 1e-4 // of (z + u) φ(u) over u from −z on
		for u := -z; u < 12; u += step {
			m := u + step/2
			sum += (z + m) * math.Exp(-m*m/2) / math.Sqrt(2*math.Pi) * step
		}
		if got := logImprovement(z); math.Abs(got-math.Log(sum)) > 1e-4 {
			t.Errorf("at %v: %v, want %v", z, got, math.Log(sum))
		}
	}
	before := logImprovement(-9)
	for _, z := range []float64{-9.99999, -10.00001, -30, -1e4} {
		if got := logImprovement(z); got >= before || math.IsInf(got, 0) {
			t.Errorf("at %v: %v, after %v", z, got, before)
		} else {
			before = got
		}
	}
	if d := logImprovement(-9.9999999) - logImprovement(-10.0000001); math.Abs(d) > 1e-3 {
		t.Errorf("a step of %v where the series begins", d)
	}
}
