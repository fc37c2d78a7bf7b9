package nn

import "math"

// AttentionPool holds CLIP's pooling of a feature map: the mean of all positions is the query of a multi-head
// attention over them (Radford et al. 2021, §2.4).
type AttentionPool struct {
	Width, Heads, Out int
	tokens            int
	position          *Param
	q, k, v, c        *Linear
}

// NewAttentionPool registers name.positional_embedding [side² + 1, width] and name.{k,q,v,c}_proj.
// All weights and positions have standard deviation width^-½, biases PyTorch's default.
func NewAttentionPool(s *Set, name string, side, width, heads, out int) *AttentionPool {
	std := 1 / math.Sqrt(float64(width))
	linear := func(which string, out int) *Linear {
		return NewLinear(s, name+"."+which+"_proj", width, out, Normal(std), BiasOf(width))
	}
	return &AttentionPool{
		Width: width, Heads: heads, Out: out, tokens: side*side + 1,
		position: s.Embedding(name+".positional_embedding", Normal(std), side*side+1, width),
		k:        linear("k", width), q: linear("q", width), v: linear("v", width), c: linear("c", out),
	}
}
