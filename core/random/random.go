// Package random gives random numbers by position instead of by history: the stream for (seed, purpose,
// epoch, index) is always the same, in whatever order and on however many workers it is asked for. So a
// run that is resumed, or that has another number of threads, sees the same samples.
//
// The generator is SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number
// generators"), whose state is a counter; it is not for cryptography. Its numbers are fixed by this
// package alone, so that they stay the same from one Go release to the next. Standard library only.
package random

import "math/bits"

const golden = 0x9e3779b97f4a7c15 // 2^64 / φ, the increment of SplitMix64

// Stream generates a sequence of random numbers. It is not for concurrent use: make one per position.
type Stream struct{ state uint64 }

// New returns the stream of a position: a seed, what the numbers are for ("crop", "caption") and any
// coordinates such as epoch and index. Different positions give unrelated streams.
func New(seed uint64, purpose string, at ...int) *Stream {
	h := uint64(14695981039346656037) // FNV-1a
	for i := 0; i < len(purpose); i++ {
		h = (h ^ uint64(purpose[i])) * 1099511628211
	}
	s := mix(seed+golden) ^ h
	for _, a := range at {
		s = mix(s+golden) + uint64(a)
	}
	return &Stream{state: mix(s + golden)}
}

// mix applies the finaliser of SplitMix64, a bijection of 64 bits.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Uint64 returns 64 uniform bits.
func (s *Stream) Uint64() uint64 {
	s.state += golden
	return mix(s.state)
}

// Float64 returns a uniform number in [0, 1), a multiple of 2^-53.
func (s *Stream) Float64() float64 { return float64(s.Uint64()>>11) * 0x1p-53 }

// Range returns a uniform number in [lo, hi).
func (s *Stream) Range(lo, hi float64) float64 { return lo + float64((hi-lo)*s.Float64()) }

// IntN returns a uniform integer in [0, n), with a bias under n/2^64. It panics for n < 1.
func (s *Stream) IntN(n int) int {
	if n < 1 {
		panic("random: IntN of a number under 1")
	}
	hi, _ := bits.Mul64(s.Uint64(), uint64(n))
	return int(hi)
}

// Perm returns a uniformly random order of 0 … n-1 (the shuffle of Fisher and Yates).
func (s *Stream) Perm(n int) []int {
	p := make([]int, n)
	for i := range p {
		j := s.IntN(i + 1)
		p[i], p[j] = p[j], i
	}
	return p
}
