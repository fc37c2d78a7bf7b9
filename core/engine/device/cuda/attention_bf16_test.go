//go:build clipcuda

package cuda

import (
	"strings"
	"testing"

	"tandem/core/engine/device"
	"tandem/core/engine/device/devicetest"
	"tandem/core/fault"
)

func TestAttentionInBF16MatchesTheReference(t *testing.T) {
	compareAll(t, devicetest.AttentionInBF16())
}

func TestAttentionInBF16GivesEqualBits(t *testing.T) {
	devicetest.EqualBits(t, open(t, Options{}), open(t, Options{}), devicetest.AttentionInBF16())
}

func TestAttentionInBF16OfHalfArgumentsGivesTheBitsOfRealOnes(t *testing.T) {
	devicetest.Halves(t, open(t, Options{}), devicetest.AttentionInBF16(), device.Attention{}, device.AttentionBack{})
}

func TestAttentionInBF16TakesViewsThatBeginAnywhere(t *testing.T) {
	b := open(t, Options{})
	for _, c := range devicetest.AttentionInBF16() {
		devicetest.Compare(t, shifted{b}, c)
	}
}

func TestAttentionInBF16HasTheShapesItSays(t *testing.T) {
	b := open(t, Options{})
	for _, c := range []struct {
		k    device.Attention
		want bool
	}{
		{device.Attention{B: 1, Tq: 80, Tk: 80, Heads: 2, HeadDim: 64, Packed: true}, true},
		{device.Attention{B: 1, Tq: 50, Tk: 50, Heads: 2, HeadDim: 32, Packed: true, Causal: true}, true},
		{device.Attention{B: 1, Tq: 81, Tk: 81, Heads: 2, HeadDim: 64, Packed: true}, false},
		{device.Attention{B: 1, Tq: 50, Tk: 50, Heads: 2, HeadDim: 48, Packed: true}, false},
		{device.Attention{B: 1, Tq: 50, Tk: 50, Heads: 2, HeadDim: 64}, false},
	} {
		if got := b.AttendsBF16(c.k); got != c.want || (&devicetest.Shapes{}).AttendsBF16(c.k) != c.want {
			t.Errorf("%+v in bfloat16: %v, want %v", c.k, got, c.want)
		}
		c.k.BF16 = true
		_, err := b.Prepare(c.k)
		switch {
		case c.want && err != nil:
			t.Errorf("%+v: %v", c.k, err)
		case !c.want && (err == nil || fault.KindOf(err) != fault.Unavailable && !strings.Contains(err.Error(), "packed")):
			t.Errorf("%+v is not refused: %v", c.k, err)
		}
	}
}
