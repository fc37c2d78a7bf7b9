package loss

import (
	"tandem/core/engine/device"
	"tandem/core/engine/graph"
)

// CrossEntropy computes logsumexp(x[i]) − Σj q[i, j]·x[i, j] for each row i of the batch, in nats: logits x [Size, C]
// and targets q [Size, Size], whose rows add up to 1, such as GroupTargets. Columns of logits from Size on, such as
// those of negatives, are targets of none.
func (b Batch) CrossEntropy(logits, targets *graph.Node) *graph.Node {
	return b.RowsCrossEntropy(logits, b.Partners(0, b.Size), targets)
}

// RowsCrossEntropy computes CrossEntropy of some rows, whose partners are i32 [n]: x [n, C], q [n, Size] → [n].
func (b Batch) RowsCrossEntropy(logits, partners, targets *graph.Node) *graph.Node {
	n, hard := partners.Elements(), graph.CrossEntropy(logits, partners, 0) // of q = Own
	if c := logits.Dim(-1); c > b.Size {
		logits = graph.Reshape(graph.SliceTokens(graph.Reshape(logits, n, c, 1), 0, b.Size), n, b.Size)
	}
	return graph.Add(hard, graph.SumCols(graph.Mul(logits, graph.Sub(b.Own(partners), targets))))
}

// Rows joins the rows of a [N, D] and c [M, D], such as texts and negatives, [N + M, D].
func Rows(a, c *graph.Node) *graph.Node {
	both := graph.ConcatTokens(graph.Reshape(a, append([]int{1}, a.Shape()...)...), graph.Reshape(c, append([]int{1}, c.Shape()...)...))
	return graph.Reshape(both, both.Dim(1), both.Dim(2))
}

// Columns joins the columns of x [N, C] and y [N, D], [N, C + D].
func Columns(x, y *graph.Node) *graph.Node {
	rows, c, d := x.Dim(0), x.Dim(1), y.Dim(1)
	return graph.Reshape(graph.ConcatTokens(graph.Reshape(x, rows, c, 1), graph.Reshape(y, rows, d, 1)), rows, c+d)
}

// Hinge computes max(x, 0).
func Hinge(x *graph.Node) *graph.Node { return graph.Act(x, device.ReLU) }
