package nn

import (
	"slices"
	"testing"
)

// Each sample keeps its class token and distinct patches of its own, in order; samples differ.
func TestChooseTokens(t *testing.T) {
	const b, n, keep = 3, 40, 10
	draw := func(step, micro int) []int32 {
		dst := make([]int32, b*(1+keep))
		chooseTokens(dst, b, 1, n, keep, Stream(1, "patch dropout", step, micro))
		return dst
	}
	rows := draw(1, 0)
	for s := range b {
		row := rows[s*(1+keep) : (s+1)*(1+keep)]
		first, last := int32(s*(1+n)), int32((s+1)*(1+n))
		if row[0] != first || row[keep] >= last || !slices.IsSorted(row) || len(slices.Compact(slices.Clone(row))) != 1+keep {
			t.Errorf("sample %d keeps %v, want distinct ascending rows of [%d, %d) from the first on", s, row, first, last)
		}
	}
	patches := func(s int) (p []int32) {
		for _, r := range rows[s*(1+keep)+1 : (s+1)*(1+keep)] {
			p = append(p, r-int32(s*(1+n)))
		}
		return p
	}
	if slices.Equal(patches(0), patches(1)) {
		t.Error("samples share their patches")
	}
	if !slices.Equal(rows, draw(1, 0)) || slices.Equal(rows, draw(2, 0)) || slices.Equal(rows, draw(1, 1)) {
		t.Error("the choice is not a function of step and micro-batch")
	}
}

// Over many draws every patch is kept equally often.
func TestChooseTokensIsUniform(t *testing.T) {
	const n, keep, draws = 8, 3, 4000
	counts := make([]int, n)
	dst := make([]int32, draws*(1+keep))
	chooseTokens(dst, draws, 1, n, keep, Stream(1, "patch dropout", 0, 0))
	for s := range draws {
		for _, r := range dst[s*(1+keep)+1 : (s+1)*(1+keep)] {
			counts[int(r)-s*(1+n)-1]++
		}
	}
	for i, c := range counts {
		if want := draws * keep / n; c < want-150 || c > want+150 { // five standard deviations
			t.Errorf("patch %d is kept %d times, want about %d", i, c, want)
		}
	}
}
