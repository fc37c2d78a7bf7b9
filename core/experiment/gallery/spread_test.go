package gallery

import (
	"slices"
	"testing"

	"tandem/core/clip"
	"tandem/core/experiment/assemble"
	"tandem/core/experiment/mixture"
)

// A look at a mixture shows as many samples of each source, none twice; of a source with fewer all.
func TestSamplesAreSpreadOverTheSources(t *testing.T) {
	for _, x := range []struct {
		sizes, want []int
		n           int
	}{
		{[]int{100}, []int{0, 25, 50, 75}, 4},
		{[]int{100, 10}, []int{0, 50, 100, 105}, 4},
		{[]int{2, 100}, []int{0, 1, 2, 27, 52, 77}, 6},
		{[]int{100, 2}, []int{0, 1, 33, 66, 100, 101}, 6},
		{[]int{1, 1, 1}, []int{0, 1, 2}, 3},
	} {
		d, total := &assemble.Dataset{}, 0
		var members []mixture.Member
		for _, size := range x.sizes {
			members = append(members, mixture.Member{Info: clip.DatasetInfo{Len: size}})
			total += size
		}
		if len(members) > 1 {
			d.Dataset = mixture.Join(members)
		}
		got := make([]int, x.n)
		spread(got, d, total)
		if slices.Sort(got); !slices.Equal(got, x.want) {
			t.Errorf("%d of sources of %v samples: %v, want %v", x.n, x.sizes, got, x.want)
		}
	}
}
