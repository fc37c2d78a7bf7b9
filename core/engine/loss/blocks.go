package loss

import "tandem/core/engine/graph"

// blockElements limits the logits that are computed at once: batches of up to 2048 pairs, 16 MiB of logits, need no
// blocks.
const blockElements = 4 << 20

// maxBlocks bounds the size of the graph.
const maxBlocks = 64

// WithBlocks replaces the number of logits above which a batch is computed in blocks, for tests.
func WithBlocks(elements int) Option { return func(l *Loss) { l.block = elements } }

// block returns how many rows of logits [Rows, Size] a loss may have in memory at a time; Rows when it may have all.
func (b Batch) block() int { return b.blockOf(b.limit) }

// blockOf returns how many rows have so many logits.
func (b Batch) blockOf(logits int) int {
	return min(b.Rows, max(logits/b.Size, (b.Rows+maxBlocks-1)/maxBlocks))
}

// Whole says that the batch is small enough for all its logits [Rows, Size] at once.
func (b Batch) Whole() bool { return b.block() == b.Rows }

// Blocks gives the losses [Rows] of rows [Size, D] in blocks, for batches that are not Whole: f gives those
// of n rows [n, D] whose partners are i32 [n]. In the backward pass each block is computed again, so that
// one block's logits at a time are in memory.
func (b Batch) Blocks(rows *graph.Node, f func(rows, partners *graph.Node) *graph.Node) *graph.Node {
	losses := b.rowBlocks(rows, b.block(), func(rows, partners *graph.Node) *graph.Node {
		return graph.Reshape(f(rows, partners), partners.Elements(), 1)
	})
	return graph.Reshape(losses, b.Rows)
}

// Each gives the losses [Rows] of rows [Size, D], or W numbers for each, [Rows, W]: in Blocks, or at once for a batch that
// is Whole.
func (b Batch) Each(rows *graph.Node, f func(rows, partners *graph.Node) *graph.Node) *graph.Node {
	if b.Whole() {
		return b.rowBlocks(rows, b.Rows, f)
	}
	var axes int
	out := b.rowBlocks(rows, b.block(), func(rows, partners *graph.Node) *graph.Node {
		values := f(rows, partners)
		axes = values.Dims()
		return graph.Reshape(values, partners.Elements(), -1)
	})
	if axes == 1 {
		return graph.Reshape(out, b.Rows)
	}
	return out
}

// pieceElements limits the logits of a piece: batches of up to 1024 pairs are one piece, 4 MiB of logits.
const pieceElements = 1 << 20

// WithPieces replaces the number of logits of a piece, for tests.
func WithPieces(elements int) Option { return func(l *Loss) { l.piece = elements } }

// Pieces gives W numbers for each of rows [Size, D], [Rows, W], as Each does, in pieces whose size depends on the batch's
// alone: f gives those of n rows [n, D]. A batch that is not Whole computes each piece again in the backward pass, so that
// one piece's logits at a time are in memory; one that is Whole keeps them. Both add up the same numbers in the same
// order, so that they have the same bits.
func (b Batch) Pieces(rows *graph.Node, f func(rows, partners *graph.Node) *graph.Node) *graph.Node {
	return b.rowBlocks(rows, b.blockOf(b.pieces), f)
}

// rowBlocks gives [Rows, W], in blocks of so many rows, or fewer at the end: f gives [n, W] of n rows.
func (b Batch) rowBlocks(rows *graph.Node, size int, f func(rows, partners *graph.Node) *graph.Node) *graph.Node {
	if size == b.Rows && b.Whole() {
		return f(b.scored(rows), b.Partners(b.from, b.Rows))
	}
	var values *graph.Node // [1, rows so far, W]
	dim := rows.Dim(-1)
	for from := b.from; from < b.from+b.Rows; from += size {
		n := min(size, b.from+b.Rows-from)
		end := func() {}
		if !b.Whole() {
			end = b.Graph.Segment()
		}
		part := graph.Reshape(graph.SliceTokens(graph.Reshape(rows, 1, b.Size, dim), from, n), n, dim)
		block := graph.Reshape(f(part, b.Partners(from, n)), 1, n, -1)
		end()
		if values == nil {
			values = block
		} else {
			values = graph.ConcatTokens(values, block)
		}
	}
	return graph.Reshape(values, b.Rows, -1)
}

// scored gives the rows [Rows, D] that the batch scores of x [Size, D].
func (b Batch) scored(x *graph.Node) *graph.Node {
	if b.Rows == b.Size {
		return x
	}
	dim := x.Dim(-1)
	return graph.Reshape(graph.SliceTokens(graph.Reshape(x, 1, b.Size, dim), b.from, b.Rows), b.Rows, dim)
}

// Wide returns the batch of a loss that has so many logits for each pair of samples: its blocks are the smaller.
func (b Batch) Wide(logits int) Batch {
	b.limit /= max(logits, 1)
	return b
}
