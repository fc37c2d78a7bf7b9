//go:build clipcuda

package cuda

import (
	"fmt"

	"tandem/core/engine/device"
)

// tokensBF16 holds the most tokens that kernels of attention in bfloat16 take, by their size.
var tokensBF16 = []int{32, 64, 80}

var _ device.BF16Attender = (*Backend)(nil)

// AttendsBF16 reports whether attention_bf16.cu has this shape.
func (b *Backend) AttendsBF16(k device.Attention) bool {
	return b.ctx.Properties().Capability >= 80 && fitsBF16(k)
}

func fitsBF16(k device.Attention) bool {
	return k.Packed && (k.HeadDim == 32 || k.HeadDim == 64) && k.Tq <= tokensBF16[len(tokensBF16)-1]
}

// attentionBF16Code launches attention_bf16.cu and attention_back_bf16.cu of kernels: a block for each head, two
// threads for each token that there may be.
func attentionBF16Code(kernel device.Kernel) (code, bool) {
	switch k := kernel.(type) {
	case device.Attention:
		return attentionBF16(k), k.BF16 && fitsBF16(k)
	case device.AttentionBack:
		return attentionBackBF16(device.Attention(k)), k.BF16 && fitsBF16(device.Attention(k))
	}
	return code{}, false
}

// overHeads returns a launch of the entry of a kernel's size.
func overHeads(k device.Attention, name string, params ...any) launch {
	most := 0
	for _, most = range tokensBF16 {
		if k.Tq <= most {
			break
		}
	}
	return start(fmt.Sprintf("%s_%d_%d", name, k.HeadDim, most), dim{x: k.B * k.Heads}, dim{x: 2 * most}, params...)
}

func attentionBF16(k device.Attention) code {
	_, starts := matrices(k, 0)
	out := arg(inputs(k))
	c := code{launches: []launch{overHeads(k, "attention_bf16", arg(0), starts, out, k.Tq, k.Heads, bit(k.Causal), isHalf(0), isHalf(out))}}
	return clearTail(c, k, out, k.Heads*k.HeadDim, isHalf(out))
}

func attentionBackBF16(k device.Attention) code {
	_, starts := matrices(k, 0)
	dout := arg(inputs(k))
	grads := dout + 1
	c := code{launches: []launch{overHeads(k, "attention_back_bf16", arg(0), starts, dout, grads, k.Tq, k.Heads, bit(k.Causal),
		isHalf(0), isHalf(dout), isHalf(grads))}}
	return clearTail(c, k, grads, 3*k.Heads*k.HeadDim, isHalf(grads))
}
