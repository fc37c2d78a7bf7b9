package nn

import (
	"fmt"
)

// Eps keeps layer and batch normalisation from dividing by zero, in every model of OpenAI's and in OpenCLIP's own.
const Eps = 1e-5

// Linear computes y = act(x·Wᵀ + b) over the last axis, W [out, in].
type Linear struct {
	In, Out int
	Weight  *Param
	Bias    *Param // nil for none
}

// NewLinear registers name.weight [out, in] and name.bias [out].
func NewLinear(s *Set, name string, in, out int, weight, bias Init) *Linear {
	return &Linear{
		In: in, Out: out,
		Weight: s.Param(name+".weight", weight, out, in),
		Bias:   s.Param(name+".bias", bias, out),
	}
}

// LayerNorm normalises the last axis (Ba et al. 2016).
type LayerNorm struct {
	Width       int
	Eps         float64
	Gain, Shift *Param
}

// NewLayerNorm registers name.weight and name.bias [width].
func NewLayerNorm(s *Set, name string, width int) *LayerNorm {
	return &LayerNorm{
		Width: width, Eps: Eps,
		Gain:  s.Param(name+".weight", Ones, width),
		Shift: s.Param(name+".bias", Zeros, width),
	}
}

// WithEps gives the norm another eps than Eps, and returns it; 0 leaves it as it is.
func (l *LayerNorm) WithEps(eps float64) *LayerNorm {
	if eps != 0 {
		l.Eps = eps
	}
	return l
}

// BlockConfig configures residual attention blocks. Zero initialisers do not mean a default: set all four.
type BlockConfig struct {
	Width, Heads int
	Hidden       int // width of the MLP
	Act          Activation
	Causal       bool
	Eps          float64 // of the layer norms; 0: Eps
	// Initialisers of the weights of the packed query, key and value projection, of the attention's
	// output projection and of the MLP's two layers. Attention biases start at 0, the MLP's at
	// PyTorch's default.
	InProj, OutProj, FC, Proj Init
}

// A Block computes pre-norm residual attention: x + attn(ln_1 x), then x + mlp(ln_2 x).
type Block struct {
	cfg            BlockConfig
	ln1, ln2       *LayerNorm
	qkv, out       *Linear
	hidden, output *Linear
}

// NewBlock registers the parameters of a block under name: ln_1, attn.in_proj_weight [3W, W] (query,
// key, value from the top), attn.in_proj_bias, attn.out_proj, ln_2, mlp.c_fc, mlp.c_proj.
func NewBlock(s *Set, name string, cfg BlockConfig) *Block {
	w := cfg.Width
	b := &Block{cfg: cfg}
	b.ln1 = NewLayerNorm(s, name+".ln_1", w).WithEps(cfg.Eps)
	b.qkv = &Linear{
		In: w, Out: 3 * w,
		Weight: s.Param(name+".attn.in_proj_weight", cfg.InProj, 3*w, w),
		Bias:   s.Param(name+".attn.in_proj_bias", Zeros, 3*w),
	}
	b.out = NewLinear(s, name+".attn.out_proj", w, w, cfg.OutProj, Zeros)
	b.ln2 = NewLayerNorm(s, name+".ln_2", w).WithEps(cfg.Eps)
	b.hidden = NewLinear(s, name+".mlp.c_fc", w, cfg.Hidden, cfg.FC, BiasOf(w))
	b.output = NewLinear(s, name+".mlp.c_proj", cfg.Hidden, w, cfg.Proj, BiasOf(cfg.Hidden))
	return b
}

// A Transformer stacks residual attention blocks.
type Transformer struct{ Blocks []*Block }

// NewTransformer registers layers blocks as name.resblocks.0, name.resblocks.1, … What is registered
// next comes after them (see Set.Enter).
func NewTransformer(s *Set, name string, layers int, cfg BlockConfig) *Transformer {
	t := &Transformer{}
	defer s.Enter(Head)
	for i := range layers {
		s.Enter(1 + i)
		t.Blocks = append(t.Blocks, NewBlock(s, fmt.Sprintf("%s.resblocks.%d", name, i), cfg))
	}
	return t
}
