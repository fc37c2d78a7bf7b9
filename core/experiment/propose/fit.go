package propose

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// The priors of the logarithms of lengths and noise are normal distributions. Lengths are longer the more dimensions there are
// (Hvarfner, Hellsten and Nardi 2024, "Vanilla Bayesian optimization performs great in high dimensions", §5), but their median is shorter than
// the paper's 4.1, with which a search of few points found less.
const (
	lengthMedian = 1.65 // in one dimension; it grows with the root of their number
	lengthSpread = 1.732
	noiseMedian  = .0183
	noiseSpread  = 1.0
	noiseLeast   = 1e-6
	scaleWorth   = 4.0 // the prior of scale counts as much as this many values of variance 1
)

// A fit weighs hyperparameters of a process: the logarithms of its lengths, and last that of its noise. Mean and scale are always the
// most probable ones beside them.
type fit struct {
	p      *process
	apart  [][]float64 // of each pair of points, the squared distance along each coordinate
	theta  []float64   // what the process is set to
	k      *mat.SymDense
	factor mat.Cholesky
	slopes []float64 // of each pair, see matern
	energy float64   // values' squared distance from the mean, by the inverse of their covariance
	ok     bool
}

func newFit(p *process) *fit {
	f := &fit{p: p, k: mat.NewSymDense(len(p.at), nil)}
	for i := range p.at {
		for j := range i {
			pair := make([]float64, len(p.choice))
			for c := range pair {
				pair[c] = p.apart(c, p.at[i][c], p.at[j][c])
			}
			f.apart = append(f.apart, pair)
		}
	}
	f.slopes = make([]float64, len(f.apart))
	return f
}

// prior returns mean and deviation of hyperparameter i.
func (f *fit) prior(i int) (mean, spread float64) {
	if d := len(f.p.choice); i < d {
		return math.Log(lengthMedian * math.Sqrt(float64(d))), lengthSpread
	}
	return math.Log(noiseMedian), noiseSpread
}

// start returns the means of the prior, with the lengths shifted.
func (f *fit) start(shift float64) []float64 {
	theta := make([]float64, len(f.p.choice)+1)
	for i := range theta {
		theta[i], _ = f.prior(i)
		if i < len(f.p.choice) {
			theta[i] += shift
		}
	}
	return theta
}

// set gives the process hyperparameters, and all that follows from them and the values. ok tells whether that is numerically possible.
func (f *fit) set(theta []float64) {
	if slices.Equal(f.theta, theta) {
		return
	}
	f.theta = slices.Clone(theta)
	p, n, d := f.p, len(f.p.at), len(f.p.choice)
	inverse := make([]float64, d)
	for i := range d {
		p.length[i] = math.Exp(theta[i])
		inverse[i] = math.Exp(-2 * theta[i])
	}
	p.noise = noiseLeast + math.Exp(theta[d])
	pair := 0
	for i := range n {
		for j := range i {
			sum := 0.0
			for c, v := range f.apart[pair] {
				sum += v * inverse[c]
			}
			k, slope := matern(sum)
			f.k.SetSym(j, i, k)
			f.slopes[pair] = slope
			pair++
		}
		f.k.SetSym(i, i, 1+p.noise)
	}
	if f.ok = f.factor.Factorize(f.k); !f.ok {
		return
	}
	p.factor = f.factor.RawU().(*mat.TriDense).RawTriangular()
	rest, one := mat.NewVecDense(n, slices.Clone(p.values)), mat.NewVecDense(n, nil)
	for i := range n {
		one.SetVec(i, 1)
	}
	var u, w mat.VecDense
	f.factor.SolveVecTo(&u, one)
	p.mean = mat.Dot(&u, rest) / mat.Dot(&u, one)
	rest.AddScaledVec(rest, -p.mean, one)
	f.factor.SolveVecTo(&w, rest)
	p.weight = w.RawVector().Data
	f.energy = mat.Dot(&w, rest)
	p.scale = (scaleWorth + f.energy) / (scaleWorth + float64(n))
}

// loss returns minus the logarithm of the density of hyperparameters given the values, up to a constant (Rasmussen and Williams 2006,
// §5.4.1).
func (f *fit) loss(theta []float64) float64 {
	f.set(theta)
	if !f.ok {
		return math.Inf(1)
	}
	sum := (f.factor.LogDet() + (scaleWorth+float64(len(f.p.at)))*math.Log(scaleWorth+f.energy)) / 2
	for i, t := range theta {
		mean, spread := f.prior(i)
		z := (t - mean) / spread
		sum += z * z / 2
	}
	return sum
}

// gradient writes the derivatives of loss.
func (f *fit) gradient(grad, theta []float64) {
	f.set(theta)
	clear(grad)
	if !f.ok {
		return
	}
	p, d := f.p, len(f.p.choice)
	var inverse mat.SymDense
	f.factor.InverseTo(&inverse)
	pair := 0
	for i := range p.at {
		for j := range i {
			w := (inverse.At(j, i) - p.weight[i]*p.weight[j]/p.scale) * f.slopes[pair]
			for c, v := range f.apart[pair] {
				grad[c] += w * v
			}
			pair++
		}
		grad[d] += (inverse.At(i, i) - p.weight[i]*p.weight[i]/p.scale) / 2 * math.Exp(theta[d])
	}
	for i, t := range theta {
		if i < d {
			grad[i] *= math.Exp(-2 * t)
		}
		mean, spread := f.prior(i)
		grad[i] += (t - mean) / (spread * spread)
	}
}
