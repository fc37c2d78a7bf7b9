package random

import (
	"math"
	"slices"
	"testing"
)

func TestSplitMix64ReferenceVector(t *testing.T) {
	// First outputs of the reference splitmix64.c (Vigna 2015) from state 1234567.
	s := &Stream{state: 1234567}
	for i, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423} {
		if got := s.Uint64(); got != want {
			t.Fatalf("output %d: %d, want %d", i, got, want)
		}
	}
}

func TestStreamIsAFunctionOfItsPosition(t *testing.T) {
	a, b := New(1, "crop", 2, 3), New(1, "crop", 2, 3)
	for range 10 {
		if x, y := a.Uint64(), b.Uint64(); x != y {
			t.Fatalf("same position, %d and %d", x, y)
		}
	}
	seen := map[uint64]string{}
	for name, s := range map[string]*Stream{
		"base": New(1, "crop", 2, 3), "seed": New(2, "crop", 2, 3), "purpose": New(1, "flip", 2, 3),
		"epoch": New(1, "crop", 3, 3), "index": New(1, "crop", 2, 4), "swapped": New(1, "crop", 3, 2),
		"shorter": New(1, "crop", 2), "longer": New(1, "crop", 2, 3, 0),
	} {
		x := s.Uint64()
		if other, dup := seen[x]; dup {
			t.Errorf("%s and %s start alike", name, other)
		}
		seen[x] = name
	}
}

func TestFirstDrawsOfNeighbouringPositionsAreUniform(t *testing.T) {
	const n, cells = 20000, 20
	var counts [cells]float64
	mean := 0.0
	for i := range n {
		s := New(0, "x", 0, i)
		v := s.Float64()
		mean += v / n
		counts[New(0, "y", i, 7).IntN(cells)]++
	}
	if math.Abs(mean-.5) > .01 {
		t.Errorf("mean %v", mean)
	}
	chi := 0.0
	for _, c := range counts {
		chi += (c - n/cells) * (c - n/cells) / (n / cells)
	}
	if chi > 43.8 { // 99.9 % point of chi-square with 19 degrees of freedom
		t.Errorf("chi-square %v", chi)
	}
}

func TestPermIsAPermutation(t *testing.T) {
	p := New(5, "perm").Perm(100)
	q := slices.Clone(p)
	slices.Sort(q)
	for i, v := range q {
		if v != i {
			t.Fatalf("not a permutation: %v", p)
		}
	}
	if slices.Equal(p, q) {
		t.Error("identity")
	}
}
