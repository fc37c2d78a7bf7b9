package loss

import "tandem/core/engine/graph"

// CrossEntropy computes logsumexp(x[i]) − Σj q[i, j]·x[i, j] for each row i of the batch, in nats: logits x [Size, C]
// and targets q [Size, Size], whose rows add up to 1, such as GroupTargets. Columns of logits from Size on, such as
// those of negatives, are targets of none.
func (b Batch) CrossEntropy(logits, targets *graph.Node) *graph.Node {
	hard := graph.CrossEntropy(logits, b.Partners(0, b.Size), 0) // of q = Eye
	if c := logits.Dim(-1); c > b.Size {
		logits = graph.Reshape(graph.SliceTokens(graph.Reshape(logits, b.Size, c, 1), 0, b.Size), b.Size, b.Size)
	}
	return graph.Add(hard, graph.SumCols(graph.Mul(logits, graph.Sub(b.Eye(), targets))))
}

// Rows joins the rows of a [N, D] and c [M, D], such as texts and negatives, [N + M, D].
func Rows(a, c *graph.Node) *graph.Node {
	both := graph.ConcatTokens(graph.Reshape(a, append([]int{1}, a.Shape()...)...), graph.Reshape(c, append([]int{1}, c.Shape()...)...))
	return graph.Reshape(both, both.Dim(1), both.Dim(2))
}
