package propose

import (
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize"
)

// A process is a Gaussian process over points (Rasmussen and Williams 2006, "Gaussian processes for machine learning", §2): it
// predicts a mean and a deviation of the value anywhere. Points are coordinates, those of Space.coordinates.
type process struct {
	choice []bool      // which coordinates are choices
	at     [][]float64 // points with values, then those that were only believed
	values []float64

	length []float64         // of each coordinate: how far apart values are still alike
	noise  float64           // variance of values measured at one point, in units of scale
	scale  float64           // variance of values from point to point
	mean   float64           // far from every point
	factor blas64.Triangular // the covariance of at in units of scale is its square: upper
	weight []float64         // of each value in a predicted mean
}

// newProcess fits a process to values at points: its lengths and noise are the most probable ones, given values and prior.
func newProcess(choice []bool, at [][]float64, values []float64) *process {
	p := &process{choice: choice, at: at, values: values, length: make([]float64, len(choice))}
	f := newFit(p)
	best, least := f.start(0), math.Inf(1)
	for _, shift := range []float64{0, -1.5} {
		problem := optimize.Problem{Func: f.loss, Grad: f.gradient}
		settings := optimize.Settings{MajorIterations: 60, GradientThreshold: 1e-4}
		// An error says that the line search found nothing lower; what was found so far counts.
		if r, _ := optimize.Minimize(problem, f.start(shift), &settings, &optimize.LBFGS{}); r != nil && r.F < least {
			best, least = r.X, r.F
		}
	}
	f.set(best)
	return p
}

// matern returns Matérn's kernel of smoothness 5/2 at a squared distance. Times a coordinate's part of that distance, slope is the
// derivative by the logarithm of that coordinate's length.
func matern(d float64) (k, slope float64) {
	r := math.Sqrt(5 * d)
	e := math.Exp(-r)
	return (1 + r + 5*d/3) * e, 5. / 3 * (1 + r) * e
}

// apart returns the squared distance of two points along coordinate i, in units of it. Choices are apart by 1 or not at all.
func (p *process) apart(i int, a, b float64) float64 {
	if p.choice[i] && a != b {
		return 1
	}
	return (a - b) * (a - b)
}

// covariance returns the kernel of two points, 1 where they are the same.
func (p *process) covariance(a, b []float64) float64 {
	d := 0.0
	for i := range a {
		d += p.apart(i, a[i], b[i]) / (p.length[i] * p.length[i])
	}
	k, _ := matern(d)
	return k
}

// predict returns mean and deviation of the value at a point, without the noise of measuring it.
func (p *process) predict(x []float64) (mean, deviation float64) {
	k := make([]float64, len(p.at))
	for j, at := range p.at {
		k[j] = p.covariance(x, at)
	}
	mean = p.mean
	for j, w := range p.weight {
		mean += k[j] * w
	}
	blas64.Trsv(blas.Trans, p.factor, blas64.Vector{N: len(k), Data: k, Inc: 1})
	left := 1.0
	for _, v := range k {
		left -= v * v
	}
	return mean, math.Sqrt(p.scale * math.Max(1e-12, left))
}

// believe adds points as if their values were the predicted means: means stay, and deviations shrink (Ginsbourger et al. 2010,
// "Kriging is well-suited to parallelize optimization", §3, the believer).
func (p *process) believe(points [][]float64) {
	p.at = append(p.at, points...)
	n := len(p.at)
	k := mat.NewSymDense(n, nil)
	for i := range n {
		for j := range i {
			k.SetSym(j, i, p.covariance(p.at[i], p.at[j]))
		}
		k.SetSym(i, i, 1+p.noise)
	}
	var factor mat.Cholesky
	factor.Factorize(k)
	p.factor = factor.RawU().(*mat.TriDense).RawTriangular()
}
