package stat

import (
	"math"

	"tandem/core/random"
)

// Method says how an interval was made; reports name it.
type Method string

// The methods of an interval.
const (
	NoMethod             Method = "" // under two values, or values without any spread: there is no interval
	StudentT             Method = "Student's t"
	PooledStudentT       Method = "Student's t with all cells' spread"
	StudentisedBootstrap Method = "studentised bootstrap"
)

const bootstrapFrom = 6 // values; with fewer the bootstrap undercovers or is twice as wide: docs/adr

var resamples = 9999 // such that (resamples+1)·α/2 is whole for the usual levels; simulations take fewer

// Interval holds a confidence interval. Low and High are NaN with NoMethod.
type Interval struct {
	Low, High float64
	Level     float64 // 0.95 for 95 %
	Method    Method
}

// Contains reports whether v lies in the interval; false without one.
func (i Interval) Contains(v float64) bool { return i.Low <= v && v <= i.High }

// MeanInterval returns a two-sided confidence interval of the mean; level lies in (0, 1).
//
// With fewer than six values it is Student's: mean ± t·s/√n. From six on it is the studentised
// bootstrap with 9999 resamples (Davison and Hinkley 1997, §5.2.1): the quantiles of
// (m*−m)/(s*/√n) over resamples take the place of Student's, so that a skew in the values shows.
// Values without spread have no interval: that a few numbers agree does not make their mean certain.
func MeanInterval(values []float64, level float64, seed uint64) Interval {
	return meanInterval(values, level, seed, resamples)
}

func meanInterval(values []float64, level float64, seed uint64, resamples int) Interval {
	s := Summarize(values)
	if s.N < 2 || s.flat() {
		return Interval{Low: math.NaN(), High: math.NaN(), Level: level}
	}
	err := s.Std / math.Sqrt(float64(s.N))
	if s.N >= bootstrapFrom {
		t := studentised(values, s.Mean, seed, resamples)
		k := max(1, int(math.Round(float64(resamples+1)*(1-level)/2)))
		lowest, highest := selectSmallest(t, k-1), selectSmallest(t, resamples-k)
		if !math.IsInf(lowest, 0) && !math.IsInf(highest, 0) {
			return Interval{s.Mean - highest*err, s.Mean - lowest*err, level, StudentisedBootstrap}
		}
	}
	half := quantileT(level, float64(s.N-1)) * err
	return Interval{s.Mean - half, s.Mean + half, level, StudentT}
}

// studentised returns (m*−mean)/(s*/√n) of each resample. A resample of one value
// repeated has no spread; it counts as infinite, which is what its statistic tends to.
func studentised(values []float64, mean float64, seed uint64, resamples int) []float64 {
	n := len(values)
	draw, t := make([]float64, n), make([]float64, resamples)
	for i := range t {
		stream := random.New(seed, "bootstrap", i)
		for j := range draw {
			draw[j] = values[stream.IntN(n)]
		}
		s := Summarize(draw)
		switch {
		case s.Min < s.Max:
			t[i] = (s.Mean - mean) / (s.Std / math.Sqrt(float64(n)))
		case s.Min != mean:
			t[i] = math.Inf(int(math.Copysign(1, s.Min-mean)))
		}
	}
	return t
}

// selectSmallest returns the k-th smallest of values, k from 0. It reorders values (Hoare's selection, 1961). Two of ten thousand are
// wanted, and sorting them all took much of the bootstrap's time.
func selectSmallest(values []float64, k int) float64 {
	for low, high := 0, len(values)-1; low < high; {
		pivot, i, j := values[low+(high-low)/2], low, high
		for i <= j {
			for values[i] < pivot {
				i++
			}
			for pivot < values[j] {
				j--
			}
			if i <= j {
				values[i], values[j] = values[j], values[i]
				i, j = i+1, j-1
			}
		}
		switch {
		case k <= j:
			high = j
		case k >= i:
			low = i
		default:
			return values[k]
		}
	}
	return values[k]
}
