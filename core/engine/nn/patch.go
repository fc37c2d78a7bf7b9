package nn

import (
	"math/rand/v2"
	"slices"

	"tandem/core/engine/graph"
)

// PatchEmbedding holds ViT's first layer: a convolution whose kernel and stride are the patch, without bias
// (Dosovitskiy et al. 2021).
type PatchEmbedding struct {
	Size, Width int
	Weight      *Param // [width, 3, size, size]
}

// NewPatchEmbedding registers name.weight with PyTorch's default initialiser of convolutions.
func NewPatchEmbedding(s *Set, name string, size, width int) *PatchEmbedding {
	return &PatchEmbedding{Size: size, Width: width, Weight: s.Param(name+".weight", FanIn, width, 3, size, size)}
}

// Apply maps pictures [B, H, W, 3] to tokens [B, H/size·W/size, width], row by row of the picture.
func (p *PatchEmbedding) Apply(g *Graph, x *graph.Node) *graph.Node {
	g.count(x, p.Width)
	w := graph.Reshape(g.P(p.Weight), p.Width, 3*p.Size*p.Size)
	return graph.Linear(graph.Patchify(x, p.Size), w, nil, Identity)
}

// PatchDropout leaves out a share of the tokens of x [B, 1 + N, W] in graphs for training, never the
// first, and gives [B, 1 + K, W] with K = max(1, ⌊N·(1 − rate)⌋) (Li et al. 2023, FLIP). Which ones
// differs by sample and is a function of seed, step and micro-batch.
func PatchDropout(g *Graph, x *graph.Node, rate float64) *graph.Node {
	b, n := x.Dim(0), x.Dim(1)-1
	keep := max(1, int(float64(n)*(1-rate)))
	if !g.Training() || rate == 0 || keep >= n {
		return x
	}
	g.Random = true
	rows := g.Indices("patch_dropout", func(dst []int32, c *Call) {
		chooseTokens(dst, b, n, keep, Stream(c.Seed, "patch dropout", c.Step, c.Micro))
	}, b, 1+keep)
	return graph.SelectRows(x, rows)
}

// chooseTokens writes, for each of b samples, the row of its first token and those of keep of the n
// that follow, ascending.
func chooseTokens(dst []int32, b, n, keep int, r *rand.Rand) {
	order := make([]int32, n)
	for i := range order {
		order[i] = int32(i)
	}
	for s := range b {
		for i := range keep { // a partial Fisher–Yates shuffle; any permutation serves as its start
			j := i + r.IntN(n-i)
			order[i], order[j] = order[j], order[i]
		}
		first := int32(s * (1 + n))
		row := dst[s*(1+keep) : (s+1)*(1+keep)]
		row[0] = first
		for i, o := range order[:keep] {
			row[1+i] = first + 1 + o
		}
		slices.Sort(row)
	}
}
