package graph

import "tandem/core/engine/device"

// flops counts the operations of matrix products, convolutions and attention; a multiply-add is two.
// Other kernels are bound by memory and count none, as is customary.
func flops(k device.Kernel) float64 {
	attention := func(a device.Attention, products float64) float64 {
		f := 2 * products * float64(a.B*a.Heads) * float64(a.Tq) * float64(a.Tk) * float64(a.HeadDim)
		if a.Causal {
			f /= 2
		}
		return f
	}
	conv := func(c device.Conv2D) float64 {
		oh, ow := c.OutSize()
		return 2 * float64(c.B*oh*ow) * float64(c.OutC) * float64(c.InC*c.KH*c.KW)
	}
	// Lengths that differ are not known here: their mean counts, at most.
	spans := func(a device.Attention) device.Attention {
		if a.Rows > 0 {
			a.Tk = max(1, a.Rows/a.B)
			a.Tq = min(a.Tq, a.Tk)
		}
		return a
	}
	at := func(k device.AttentionAt) device.Attention {
		return spans(device.Attention{B: k.B, Tq: 1, Tk: k.T, Heads: k.Heads, HeadDim: k.HeadDim, Causal: k.Causal, Rows: k.Rows})
	}
	switch k := device.Unhalved(k).(type) {
	case device.MatMul:
		return 2 * float64(k.Batch) * float64(k.M) * float64(k.N) * float64(k.K)
	case device.Attention:
		return attention(spans(k), 2) // q·kᵀ, p·v
	case device.AttentionBack:
		return attention(spans(device.Attention(k)), 5) // q·kᵀ again, dp, dq, dk, dv
	case device.AttentionAt:
		return attention(at(k), 2)
	case device.AttentionAtBack:
		return attention(at(device.AttentionAt(k)), 5)
	case device.ConvForward:
		return conv(k.Conv2D)
	case device.ConvBackData:
		return conv(k.Conv2D)
	case device.ConvBackWeights:
		return conv(k.Conv2D)
	}
	return 0
}
