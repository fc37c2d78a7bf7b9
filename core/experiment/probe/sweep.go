package probe

import (
	"cmp"
	"math"
	"slices"
)

// Tried is one strength of a sweep.
type Tried struct {
	C        float64
	Accuracy float64 // of the examples held out
	Loss     float64 // of the same, in nats per example
}

// Chosen is a linear probe whose strength was chosen.
type Chosen struct {
	Fitted           // to all examples, those held out too
	C        float64 // the strength
	Tried    []Tried // by ascending C
	HeldOut  int     // examples that the strength was chosen by
	AtBorder bool    // the best strength is the weakest or strongest there is
}

// finest is the step of Sweep's last round, in decades: 8 steps a decade.
const finest = .125

// Sweep chooses c by the examples at held, with fits to those at rest, and fits to all of them. It searches as Radford et al. 2021
// did (§A.3): λ = 1/c over 10⁻⁶, 10⁻⁴, …, 10⁶ and then between the neighbours of the best, halving the step down to 8 a
// decade. The best is that with the least loss, where they took the greatest accuracy: that of a few hundred examples is a
// noisy judge, between whose peaks many strengths lie, and the loss has one valley. Each fit begins where the nearest stronger penalty that was tried ended.
func Sweep(e Examples, rest, held []int, stop Stop) Chosen {
	train, judged := e.At(rest), e.At(held)
	x, mean := train.wide()
	f := newFit(x, mean, train)
	fits := map[float64]Fitted{} // by the exponent of c
	var tried []float64
	results := map[float64]Tried{}
	try := func(exponent float64) {
		if _, done := fits[exponent]; done || math.Abs(exponent) > 6 {
			return
		}
		var from *Linear
		if at, _ := slices.BinarySearch(tried, exponent); at > 0 {
			near := fits[tried[at-1]].Linear
			from = &near
		}
		c := math.Pow(10, exponent)
		got := f.run(c, from, stop)
		fits[exponent] = got
		r := Tried{C: c}
		r.Accuracy, r.Loss = got.judge(judged)
		results[exponent] = r
		tried = append(tried, exponent)
		slices.Sort(tried)
	}
	best := func() float64 { // the first of the least, as tried is in order
		return slices.MinFunc(tried, func(a, b float64) int { return cmp.Compare(results[a].Loss, results[b].Loss) })
	}
	for exponent := -6.0; exponent <= 6; exponent += 2 {
		try(exponent)
	}
	for step := 1.0; step >= finest; step /= 2 {
		peak := best()
		try(peak - step)
		try(peak + step)
	}
	peak := best()
	start := fits[peak].Linear
	out := Chosen{C: math.Pow(10, peak), HeldOut: len(held), AtBorder: math.Abs(peak) == 6}
	for _, exponent := range tried {
		out.Tried = append(out.Tried, results[exponent])
	}
	out.Fitted = Fit(e, out.C, &start, stop)
	return out
}
