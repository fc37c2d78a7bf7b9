package nn

import (
	"math/rand/v2"
	"slices"

	"tandem/core/engine/graph"
)

// PatchEmbedding holds ViT's first layer: a convolution whose kernel and stride are the patch (Dosovitskiy et al.
// 2021). CLIP's has no bias.
type PatchEmbedding struct {
	Size, Width int
	Weight      *Param // [width, 3, size, size]
	Bias        *Param // [width]; nil for none
}

// NewPatchEmbedding registers name.weight with PyTorch's default initialiser of convolutions.
func NewPatchEmbedding(s *Set, name string, size, width int) *PatchEmbedding {
	return &PatchEmbedding{Size: size, Width: width, Weight: s.Param(name+".weight", FanIn, width, 3, size, size)}
}

// NewBiasedPatchEmbedding registers name.bias too.
func NewBiasedPatchEmbedding(s *Set, name string, size, width int) *PatchEmbedding {
	p := NewPatchEmbedding(s, name, size, width)
	p.Bias = s.Param(name+".bias", BiasOf(3*size*size), width)
	return p
}

// Apply maps pictures [B, H, W, 3] to tokens [B, H/size·W/size, width], row by row of the picture.
func (p *PatchEmbedding) Apply(g *Graph, x *graph.Node) *graph.Node {
	g.count(x, p.Width)
	w := graph.Reshape(g.P(p.Weight), p.Width, 3*p.Size*p.Size)
	x = graph.Patchify(x, p.Size)
	return g.adapt(graph.Linear(x, w, g.P(p.Bias), Identity), x, p.Weight)
}

// PatchDropout leaves out a share of the tokens of x [B, P + N, W] in graphs for training, never the
// first P = prefix, and gives [B, P + K, W] with K = max(1, ⌊N·(1 − rate)⌋) (Li et al. 2023, FLIP). Which ones
// differs by sample and is a function of seed, step and micro-batch.
func PatchDropout(g *Graph, x *graph.Node, prefix int, rate float64) *graph.Node {
	b, n := x.Dim(0), x.Dim(1)-prefix
	keep := max(1, int(float64(n)*(1-rate)))
	if !g.Training() || rate == 0 || keep >= n {
		return x
	}
	g.Random = true
	rows := g.Indices("patch_dropout", func(dst []int32, c *Call) {
		chooseTokens(dst, b, prefix, n, keep, Stream(c.Seed, "patch dropout", c.Step, c.Micro))
	}, b, prefix+keep)
	return graph.SelectRows(x, rows)
}

// chooseTokens writes, for each of b samples, the rows of its first prefix tokens and those of keep of the n
// that follow, ascending.
func chooseTokens(dst []int32, b, prefix, n, keep int, r *rand.Rand) {
	order := make([]int32, n)
	for i := range order {
		order[i] = int32(i)
	}
	for s := range b {
		for i := range keep { // a partial Fisher–Yates shuffle; any permutation serves as its start
			j := i + r.IntN(n-i)
			order[i], order[j] = order[j], order[i]
		}
		first := s * (prefix + n)
		row := dst[s*(prefix+keep) : (s+1)*(prefix+keep)]
		for i := range prefix {
			row[i] = int32(first + i)
		}
		for i, o := range order[:keep] {
			row[prefix+i] = int32(first+prefix) + o
		}
		slices.Sort(row)
	}
}
