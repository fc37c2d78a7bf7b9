package collective

// Traffic says how large a training is whose ranks exchange embeddings and gradients.
type Traffic struct {
	Ranks      int   // at least 1
	Batch      int   // pairs of the whole step
	Dim        int   // values of an embedding
	Embeddings int   // embeddings of a pair that the loss takes: 2 are an image's and a text's
	Parameters int64 // trained parameters of both towers
	// LossRows says that each rank computes only its rows of the loss, so that the gradients of embeddings are added up too.
	LossRows bool
}

// StepBytes are the bytes of payload of one step that all ranks together give to others. A rank's are that divided by the
// number of ranks, to within a few values where a number of values cannot be divided by the ranks.
type StepBytes struct {
	Embeddings         int64 // every rank gives its own to every other
	EmbeddingGradients int64 // only with LossRows
	Gradients          int64 // of the towers' parameters
}

// BytesPerStep returns what a step with float32 values exchanges. The few bytes with which ranks compare losses and norms are
// not counted.
func BytesPerStep(t Traffic) StepBytes {
	values := int64(t.Batch) * int64(t.Dim) * int64(t.Embeddings)
	b := StepBytes{Embeddings: GatherBytes(t.Ranks, 4*values), Gradients: SumBytes(t.Ranks, t.Parameters)}
	if t.LossRows {
		b.EmbeddingGradients = SumShareBytes(t.Ranks, values)
	}
	return b
}

// Total returns all bytes of a step.
func (b StepBytes) Total() int64 { return b.Embeddings + b.EmbeddingGradients + b.Gradients }

// GatherBytes returns the bytes that all ranks give to others so that each has all of them: every rank's part goes to every
// other.
func GatherBytes(ranks int, bytes int64) int64 { return int64(ranks-1) * bytes }

// SumShareBytes returns the bytes of payload that all ranks give to others when they add float32 values up and each keeps its
// share: a rank gives everything but its own share.
func SumShareBytes(ranks int, values int64) int64 { return int64(ranks-1) * 4 * values }

// SumBytes returns the bytes of payload that all ranks give to others when they add float32 values up and each has all sums:
// a share each, then a gather of the shares. For each rank that is 2·(R−1)/R·4 bytes a value.
func SumBytes(ranks int, values int64) int64 {
	return SumShareBytes(ranks, values) + GatherBytes(ranks, 4*values)
}
