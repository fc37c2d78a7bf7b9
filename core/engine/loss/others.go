package loss

import "tandem/core/engine/graph"

// masked is taken from logits that are not to count: it is beyond all others, and finite.
const masked = 1e30

// Own gives 1 where a column [0, Size) is the row's partner and 0 elsewhere, [n, Size], for partners i32 [n] that Partners
// has made.
func (b Batch) Own(partners *graph.Node) *graph.Node {
	from, n := b.rows.from[partners], partners.Elements()
	if n == b.Size {
		return b.Eye()
	}
	if own := b.rows.own[partners]; own != nil {
		return own
	}
	columns := b.rows.identity(b.Graph, n) // [n, columns so far, 1]
	none := func(columns int) *graph.Node { return graph.SliceTokens(b.rows.zeros(b.Graph, n, b.Size), 0, columns) }
	if from > 0 {
		columns = graph.ConcatTokens(none(from), columns)
	}
	if rest := b.Size - from - n; rest > 0 {
		columns = graph.ConcatTokens(columns, none(rest))
	}
	b.rows.own[partners] = graph.Reshape(columns, n, b.Size)
	return b.rows.own[partners]
}

// Positives picks the logit of each row with its partner: x [n, Size] → [n].
func (b Batch) Positives(x, partners *graph.Node) *graph.Node {
	return graph.SumCols(graph.Mul(x, b.Own(partners)))
}

// WithoutPartners makes the logit of each row with its partner so small that it does not count in a sum of exponentials: x
// [n, Size].
func (b Batch) WithoutPartners(x, partners *graph.Node) *graph.Node {
	return graph.Sub(x, graph.Scale(b.Own(partners), masked, 0))
}

// LogSumExpOfOthers computes log Σ_{j ≠ partner} exp(x[i, j]) of each row: x [n, Size] → [n].
func (b Batch) LogSumExpOfOthers(x, partners *graph.Node) *graph.Node {
	// It is a cross-entropy plus the logit of its target, for which any column but the partner's is good: the first, or
	// the second where the first is the partner's.
	n, own := partners.Elements(), b.Own(partners)
	column := func(m *graph.Node, at int) *graph.Node {
		return graph.Reshape(graph.SliceTokens(graph.Reshape(m, n, b.Size, 1), at, 1), n)
	}
	first, second := column(x, 0), column(x, 1)
	target := graph.Add(first, graph.Mul(column(own, 0), graph.Sub(second, first)))
	ids := make([]int32, n)
	if from := b.rows.from[partners]; from == 0 {
		ids[0] = 1
	}
	return graph.Add(graph.CrossEntropy(b.WithoutPartners(x, partners), b.rows.input(b.Graph, ids), 0), target)
}

// Softmax computes exp(x[i, j])/Σk exp(x[i, k]) for each row: x [n, C] → [n, C].
func (b Batch) Softmax(x *graph.Node) *graph.Node {
	return graph.Softmax(x, b.rows.input(b.Graph, make([]int32, x.Dim(0))))
}
