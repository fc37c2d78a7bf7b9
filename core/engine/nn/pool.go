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

// LatentPool holds SigLIP's pooling of tokens, the MAP head of Zhai et al. (2022, "Scaling Vision Transformers", §3.2): a
// learned query attends to all tokens, and a residual MLP follows.
type LatentPool struct {
	width, heads   int
	act            Activation
	latent         *Param // [1, W], the query
	q, k, v, proj  *Linear
	norm           *LayerNorm
	hidden, output *Linear
}

// NewLatentPool registers name.latent [1, W], name.{q,k,v,proj}, name.norm and name.mlp.{fc1,fc2}: the names of timm's
// AttentionPoolLatent, whose kv is k and v below each other. Of cfg it takes width, heads, hidden width, activation and
// eps. Weights start as timm's.
func NewLatentPool(s *Set, name string, cfg BlockConfig) *LatentPool {
	w := cfg.Width
	linear := func(which string, in, out int) *Linear {
		return NewLinear(s, name+"."+which, in, out, Normal(.02), Zeros)
	}
	return &LatentPool{
		width: w, heads: cfg.Heads, act: cfg.Act,
		latent: s.Param(name+".latent", Normal(1/math.Sqrt(float64(w))), 1, w),
		q:      linear("q", w, w), k: linear("k", w, w), v: linear("v", w, w), proj: linear("proj", w, w),
		norm:   NewLayerNorm(s, name+".norm", w).WithEps(cfg.Eps),
		hidden: linear("mlp.fc1", w, cfg.Hidden), output: linear("mlp.fc2", cfg.Hidden, w),
	}
}
