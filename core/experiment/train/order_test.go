package train

import "testing"

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
	o := orders{cfg: &Config{Samples: 1e9, BatchSize: 4, Shuffle: true, Seed: 7}}
	allocated := testing.AllocsPerRun(10, func() { o.batch(123456) })
	_, a := o.batch(123456)
	_, b := o.batch(123457)
	if allocated > 10 || a[0] == b[0] || a[0] == a[1] {
		t.Errorf("%v allocations for %v and %v", allocated, a, b)
	}
}
