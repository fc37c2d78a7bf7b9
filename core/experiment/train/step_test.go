package train

import (
	"math"
	"testing"
)

func TestClipScaleBringsTheNormToTheLimit(t *testing.T) {
	for _, c := range []struct{ norm, maxNorm, want float64 }{
		{10, 1, .1}, {3, 2, 2. / 3}, {1, 1, 1}, {.5, 1, 1}, {0, 1, 1}, {10, 0, 1}, {4e-9, 1e-9, .25},
	} {
		if got := clipScale(c.norm, c.maxNorm); got != c.want {
			t.Errorf("clipScale(%v, %v) = %v, want %v", c.norm, c.maxNorm, got, c.want)
		}
	}
}

// clip_grad_norm_ of PyTorch multiplies by min(1, maxNorm/(norm + 1e-6)).
func TestClipScaleIsPyTorchsButForItsGuard(t *testing.T) {
	for _, norm := range []float64{0, .3, 1, 1.5, 10, 1e4} {
		theirs := min(1, 1/(norm+1e-6))
		if ours := clipScale(norm, 1); math.Abs(ours-theirs) > 1e-6 {
			t.Errorf("norm %v: clipped by %v, PyTorch by %v", norm, ours, theirs)
		}
	}
}
