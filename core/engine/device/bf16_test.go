package device

import (
	"math"
	"testing"
)

func TestRoundBF16(t *testing.T) {
	bits := math.Float32frombits
	for _, c := range []struct{ x, want float32 }{
		{0, 0}, {1, 1}, {-1.5, -1.5},
		{bits(0x3f808000), bits(0x3f800000)}, // a tie goes to the even one below
		{bits(0x3f818000), bits(0x3f820000)}, // and to the even one above
		{bits(0x3f808001), bits(0x3f810000)},
		{bits(0xbf80ffff), bits(0xbf810000)},
		{bits(0x3fffffff), 2}, // the carry reaches the exponent
		{math.MaxFloat32, float32(math.Inf(1))},
		{float32(math.Inf(-1)), float32(math.Inf(-1))},
		{bits(0x00018000), bits(0x00020000)}, // subnormal
	} {
		if got := RoundBF16(c.x); got != c.want {
			t.Errorf("%x rounds to %x, want %x", math.Float32bits(c.x), math.Float32bits(got), math.Float32bits(c.want))
		}
	}
	for _, u := range []uint32{0x7f800001, 0xffffffff, 0x7fc00000} {
		if got := RoundBF16(bits(u)); got == got || math.Float32bits(got)&0xffff != 0 {
			t.Errorf("NaN %x rounds to %x", u, math.Float32bits(got))
		}
	}
}
