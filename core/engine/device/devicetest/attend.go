package devicetest

import (
	"math/rand/v2"

	"tandem/core/engine/device"
)

// AttentionInBF16 has the trials of attention in bfloat16, forward and backward, for backends that have it
// (device.BF16Attender): lengths on both sides of sixteen, 32, 64 and 80, of equal and of different sequences.
func AttentionInBF16() []Trial {
	var list []Trial
	add := func(k device.Attention) {
		k.Tk, k.Packed, k.BF16 = k.Tq, true, true
		list = append(list, Trial{Kernel: k, Tol: 1e-5, Rare: 4e-3}, Trial{Kernel: device.AttentionBack(k), Tol: 1e-5, Rare: 8e-3})
	}
	for _, s := range [][4]int{{1, 1, 1, 32}, {3, 17, 2, 64}, {2, 50, 3, 64}, {2, 77, 2, 64}, {2, 77, 3, 32}, {5, 7, 3, 32},
		{2, 32, 1, 64}, {1, 33, 1, 32}, {2, 64, 2, 32}, {2, 64, 1, 64}, {1, 65, 1, 64}, {2, 80, 2, 64}, {3, 16, 1, 64}} {
		for bits := range 4 {
			k := device.Attention{B: s[0], Tq: s[1], Heads: s[2], HeadDim: s[3], Causal: bits&1 != 0}
			if bits&2 != 0 {
				k.Rows = k.B * k.Tq
			}
			add(k)
		}
	}
	d := draw{rand.New(rand.NewPCG(17, 6))}
	for range 30 {
		k := device.Attention{B: d.size(4), Tq: d.size(80), Heads: d.size(4), HeadDim: 32 + 32*d.IntN(2), Causal: d.one()}
		if d.one() {
			k.Rows = k.B * k.Tq
		}
		add(k)
	}
	k := device.Attention{B: 90, Tq: 80, Heads: 1, HeadDim: 64, Causal: true} // of every length
	k.Rows = k.B*(k.Tq+1)/2 + 3
	add(k)
	return list
}
