package devicetest

import (
	"errors"
	"sync"
)

// Ranks lets goroutines of equal right add values up, as the ranks of a training do. Every goroutine is to make the same
// calls; one that does not leaves the others waiting.
type Ranks struct {
	size  int
	mu    sync.Mutex
	full  *sync.Cond
	sums  []float64
	came  int
	times int
}

// NewRanks returns ranks for so many goroutines.
func NewRanks(size int) *Ranks {
	r := &Ranks{size: size}
	r.full = sync.NewCond(&r.mu)
	return r
}

// Sum adds values up over all ranks, in place.
func (r *Ranks) Sum(values []float64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.came == 0 {
		r.sums = make([]float64, len(values))
	}
	if len(values) != len(r.sums) {
		return errors.New("ranks add up different numbers of values")
	}
	for i, v := range values {
		r.sums[i] += v
	}
	sums, time := r.sums, r.times
	if r.came++; r.came == r.size {
		r.came = 0
		r.times++
		r.full.Broadcast()
	}
	for r.times == time {
		r.full.Wait()
	}
	copy(values, sums)
	return nil
}

// Times returns how often the ranks have added values up.
func (r *Ranks) Times() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.times
}

// Together calls f for every rank at once and returns their errors.
func (r *Ranks) Together(f func(rank int) error) error {
	errs := make([]error, r.size)
	var all sync.WaitGroup
	for k := range errs {
		all.Go(func() { errs[k] = f(k) })
	}
	all.Wait()
	return errors.Join(errs...)
}
