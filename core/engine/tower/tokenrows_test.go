package tower

import (
	"slices"
	"testing"
)

// Whatever the buffers held before, rows after a sample's own come out as zeros, and rows of no sample get no gradient.
func TestTokensAreSpreadAndCollectedAmongZeros(t *testing.T) {
	spans, dirty := []span{{0, 2}, {2, 1}}, []float32{9, 9, 9, 9, 9, 9, 9, 9}
	tokens := slices.Clone(dirty[:6])
	spread(tokens, []float32{1, 2, 3, 4}, spans, 3, 1)
	if want := []float32{1, 2, 0, 3, 0, 0}; !slices.Equal(tokens, want) {
		t.Errorf("spread gives %v, want %v", tokens, want)
	}
	rows := slices.Clone(dirty[:4])
	collect(rows, []float32{1, 2, 8, 3, 8, 8}, spans, 3, 1)
	if want := []float32{1, 2, 3, 0}; !slices.Equal(rows, want) {
		t.Errorf("collect gives %v, want %v", rows, want)
	}
}
