package sweep

import (
	"slices"
	"testing"

	"tandem/core/experiment/spec"
)

func TestChoicesThatAreNumbersHaveAnOrder(t *testing.T) {
	levels := func(values ...any) (all []spec.Level) {
		for _, v := range values {
			all = append(all, spec.Level{Overrides: []spec.Override{{Value: v}}})
		}
		return all
	}
	for _, c := range []struct {
		levels []spec.Level
		want   []float64
	}{
		{levels(int64(128), int64(32), int64(64)), []float64{1, 0, .5}},
		{levels(.98, .999, .95), []float64{.5, 1, 0}},
		{levels("cosine", "linear"), nil},
		{levels(int64(1), "auto"), nil},
		{levels(true, false), nil},
		{levels(int64(3)), nil},
		{append(levels(int64(1)), spec.Level{}), nil},
	} {
		if got := places(c.levels); !slices.Equal(got, c.want) {
			t.Errorf("%v: places %v, want %v", c.levels, got, c.want)
		}
	}
}
