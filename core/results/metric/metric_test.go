package metric

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var nan32 = float32(math.NaN())

func TestTopKGivesTiesToTheLowerIndexAndNaNLast(t *testing.T) {
	for _, c := range []struct {
		scores []float32
		k      int
		want   []int
	}{
		{[]float32{1, 3, 2}, 2, []int{1, 2}},
		{[]float32{5, 5, 5, 5}, 3, []int{0, 1, 2}},
		{[]float32{nan32, 1, nan32, 2}, 4, []int{3, 1, 0, 2}},
		{[]float32{1, 2}, 5, []int{1, 0}},
		{[]float32{1, 2}, 0, nil},
		{nil, 3, nil},
	} {
		if got := TopK(c.scores, c.k); !slices.Equal(got, c.want) {
			t.Errorf("TopK(%v, %d) = %v, want %v", c.scores, c.k, got, c.want)
		}
	}
}

func TestTopKAndRankAgreeWithSorting(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		scores := make([]float32, 1+random.IntN(20))
		order := make([]int, len(scores))
		for i := range scores {
			scores[i], order[i] = float32(random.IntN(6)), i
		}
		sort.SliceStable(order, func(i, j int) bool { return scores[order[i]] > scores[order[j]] })
		k := 1 + random.IntN(len(scores))
		if got := TopK(scores, k); !slices.Equal(got, order[:k]) {
			t.Fatalf("TopK(%v, %d) = %v, want %v", scores, k, got, order[:k])
		}
		for place, i := range order {
			if got := Rank(scores, i); got != place+1 {
				t.Fatalf("Rank(%v, %d) = %d, want %d", scores, i, got, place+1)
			}
		}
	}
}

func TestClassification(t *testing.T) {
	c := NewClassification(5)
	c.Add([]float32{9, 1, 1, 1, 1}, 0) // right
	c.Add([]float32{9, 1, 1, 1, 1}, 1) // second
	c.Add([]float32{9, 8, 7, 6, 5}, 1) // second
	c.Add([]float32{0, 0, 9, 0, 0}, 2) // right
	c.Add([]float32{5, 6, 7, 8, 1}, 4) // last, and among five of five
	c.Add([]float32{1, 1, 1, 1, 1}, 0) // a tie that the lower index wins
	// Recalls are 2/2, 0/2, 1/1, 0/1; class 3 has no examples.
	want := []Value{{"top1", 0.5}, {"top5", 1}, {"mean_per_class_recall", 0.5}}
	if diff := cmp.Diff(want, c.Metrics(), cmpopts.EquateApprox(0, 1e-12)); diff != "" {
		t.Error(diff)
	}
}

func TestTop5CountsTheFirstFive(t *testing.T) {
	c := NewClassification(7)
	c.Add([]float32{7, 6, 5, 4, 3, 2, 1}, 4) // fifth
	c.Add([]float32{7, 6, 5, 4, 3, 2, 1}, 5) // sixth
	c.Add([]float32{nan32, nan32, nan32, nan32, nan32, nan32, nan32}, 6)
	want := []Value{{"top1", 0}, {"top5", 1.0 / 3}, {"mean_per_class_recall", 0}}
	if diff := cmp.Diff(want, c.Metrics(), cmpopts.EquateApprox(0, 1e-12)); diff != "" {
		t.Error(diff)
	}
}

func TestTop5IsAbsentUnderFiveClasses(t *testing.T) {
	c := NewClassification(4)
	if c.Metrics() != nil {
		t.Errorf("without examples: %v", c.Metrics())
	}
	c.Add([]float32{1, 2, 3, 4}, 3)
	want := []Value{{"top1", 1}, {"mean_per_class_recall", 1}}
	if diff := cmp.Diff(want, c.Metrics()); diff != "" {
		t.Error(diff)
	}
}

func TestRetrievalCountsAnyPositive(t *testing.T) {
	r := NewRetrieval(Alone([]int64{7, 7, 8, 9, 10}))
	r.Add([]float32{.1, .9, .5, .4, .3}, 7)           // the second positive is first: rank 1
	r.Add([]float32{.9, .8, .5, .6, .1}, 8)           // three of other groups ahead: rank 4
	r.Add([]float32{.5, .1, .1, .5, .1}, 9)           // a tie counts against: rank 2
	r.Add([]float32{0, 0, 0, 0, nan32}, 10)           // NaN positive is last: rank 5
	r.Add([]float32{nan32, nan32, nan32, .1, .0}, 10) // NaN candidates are behind: rank 2
	r.Add([]float32{1, 1, 1, 1, 1}, 11)               // no positive
	if diff := cmp.Diff([]int{1, 4, 2, 5, 2}, r.Ranks()); diff != "" {
		t.Error(diff)
	}
	if r.Skipped() != 1 {
		t.Errorf("skipped %d, want 1", r.Skipped())
	}
	want := []Value{{"R@1", 0.2}, {"R@5", 1}, {"mean_rank", 2.8}, {"median_rank", 2},
		{"mAP@10", .43}, {"R-precision", .1}, {"MRR", .49}} // of the first query 7/10 and 1/2
	if diff := cmp.Diff(want, r.Metrics(), cmpopts.EquateApprox(0, 1e-12)); diff != "" {
		t.Error(diff)
	}
}

func TestRetrievalOfACollapsedModelFindsNothing(t *testing.T) {
	r := NewRetrieval(Alone([]int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}))
	for g := range int64(12) {
		r.Add(make([]float32, 12), g)
	}
	want := []Value{{"R@1", 0}, {"R@5", 0}, {"R@10", 0}, {"mean_rank", 12}, {"median_rank", 12}}
	if diff := cmp.Diff(want, r.Metrics()); diff != "" {
		t.Error(diff)
	}
}

// A candidate of several groups is a positive of a query of any of them.
func TestSharedCandidatesArePositivesOfAllTheirGroups(t *testing.T) {
	r := NewRetrieval([][]int64{{1, 2}, {3}, {4}})
	r.Add([]float32{3, 2, 1}, 2)
	r.Add([]float32{3, 2, 1}, 3)
	r.Add([]float32{3, 2, 1}, 4, 1)
	r.Add([]float32{3, 2, 1}, 9)
	if want := []int{1, 2, 1}; !slices.Equal(r.Ranks(), want) || r.Skipped() != 1 {
		t.Errorf("ranks %v, %d skipped, want %v and 1", r.Ranks(), r.Skipped(), want)
	}
}
