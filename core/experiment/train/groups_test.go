package train

import (
	"slices"
	"testing"

	"tandem/core/clip"
)

// Samples are positives of each other when the dataset says so or their captions are equal, across micro-batches.
func TestGroupsAreNumberedByFirstAppearance(t *testing.T) {
	micros := microBatches{
		{Batch: &clip.Batch{Captions: []string{"a", "b", "c"}, Groups: []int64{70, -3, 70}}},
		{Batch: &clip.Batch{Captions: []string{"d", "b", "e"}, Groups: []int64{9, 5, 5}}},
	}
	if got, want := numberGroups(micros), []int32{0, 1, 0, 2, 1, 1}; !slices.Equal(got, want) {
		t.Errorf("groups %v, want %v", got, want)
	}
	alone := microBatches{{Batch: &clip.Batch{Captions: []string{"x", "y", "x"}}}} // a dataset without groups
	if got, want := numberGroups(alone), []int32{0, 1, 0}; !slices.Equal(got, want) {
		t.Errorf("without groups %v, want %v", got, want)
	}
}
