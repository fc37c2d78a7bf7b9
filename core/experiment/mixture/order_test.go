package mixture

import (
	"slices"
	"testing"
)

// A set that is too long to be shuffled in memory is visited in an order too: every place is another sample.
func TestOrderOfVeryManySamplesIsAPermutation(t *testing.T) {
	for _, n := range []int{2, 3, 5, 1000, 4096, 4097} {
		seen, moved := map[int]bool{}, 0
		s := newSparse(n, 1, 2)
		for place := range n {
			i := s.at(place)
			if i < 0 || i >= n || seen[i] {
				t.Fatalf("%d samples: place %d is sample %d, which is outside or was there before", n, place, i)
			}
			if seen[i] = true; i != place {
				moved++
			}
		}
		if n >= 1000 && moved < n*9/10 {
			t.Errorf("%d of %d samples are where they were", n-moved, n)
		}
	}
	o := &order{source: &Source{Len: 1e9, Shuffle: Global}, seed: 7}
	if allocated := testing.AllocsPerRun(10, func() { o.at(3, 123456) }); allocated > 1 || o.at(3, 1) == o.at(3, 2) || o.at(3, 1) == o.at(4, 1) {
		t.Errorf("%v allocations for a place; places 1 and 2 are %d and %d", allocated, o.at(3, 1), o.at(3, 2))
	}
}

// Shards are visited in another order in each round, every sample once, and a window's samples come together, shuffled.
func TestShardsAreShuffledWithTheirSamplesInWindows(t *testing.T) {
	shards := []int{7, 0, 13, 1, 20, 9, 16, 11, 3, 20}
	s := &Source{Len: 100, Shuffle: Shards, Shards: shards, Window: 10}
	visit := func(seed uint64, round int) (out []int) {
		o := &order{source: s, seed: seed}
		for place := range s.Len {
			out = append(out, o.at(round, place))
		}
		return out
	}
	a := visit(1, 0)
	if !slices.Equal(slices.Sorted(slices.Values(a)), Order(100, 0, 0, false)) {
		t.Fatalf("not every sample once: %v", a)
	}
	if slices.Equal(a, visit(1, 1)) || slices.Equal(a, visit(2, 0)) || !slices.Equal(a, visit(1, 0)) {
		t.Error("the order does not follow from seed and round alone")
	}
	shardOf := func(i int) (k int) {
		for at := shards[0]; at <= i; at += shards[k] {
			k++
		}
		return k
	}
	for begin := 0; begin < 100; begin += 10 {
		window := a[begin : begin+10]
		in := map[int]bool{}
		for _, i := range window {
			in[shardOf(i)] = true
		}
		if len(in) > 5 || slices.IsSorted(window) {
			t.Errorf("the window %v has samples of %d shards", window, len(in))
		}
	}
	o := &order{source: s, seed: 1} // any place without those before
	for _, place := range []int{99, 3, 57, 12} {
		if got := o.at(0, place); got != a[place] {
			t.Errorf("place %d is %d, want %d", place, got, a[place])
		}
	}
	whole := &Source{Len: 50, Shuffle: Shards}
	if got := (&order{source: whole}).at(0, 0); got < 0 || got >= 50 {
		t.Errorf("without shards: sample %d", got)
	}
}
