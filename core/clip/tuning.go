package clip

// Freeze selects the parameters of an encoder that are not trained. They have no gradient, no weight
// decay and no optimiser state; batch normalisation among them uses its running statistics and does not
// update them. The fields add up; the zero value freezes nothing.
type Freeze struct {
	// All freezes every parameter. For the image encoder that is locked-image tuning (Zhai et al. 2022,
	// arXiv 2111.07991).
	All bool `json:"all,omitempty"`
	// Blocks freezes the stem (patch or token embeddings, positions) and the first *Blocks blocks (residual
	// attention blocks, stages of a ResNet). A negative number counts from the end: −1 trains the last
	// block and what follows it. nil freezes neither stem nor blocks.
	Blocks *int `json:"blocks,omitempty"`
	// Params freezes the parameters whose names match one of these globs (path.Match). Each glob must match
	// at least one parameter.
	Params []string `json:"params,omitempty"`
}

// Any reports whether anything is frozen.
func (f Freeze) Any() bool { return f.All || f.Blocks != nil || len(f.Params) > 0 }

// LoRA adds to each chosen matrix W the product (Alpha/Rank)·B·A of two trained matrices of rank Rank (Hu et al. 2022,
// arXiv 2106.09685, §4.1). A begins random and B zero, so that training begins at W.
type LoRA struct {
	Rank  int     `json:"rank"`  // at least 1
	Alpha float64 `json:"alpha"` // over 0
	// Targets are globs of parameter names (path.Match) that choose the matrices; each must match one. None means the
	// encoder's choice: the matrices of its attention.
	Targets []string `json:"targets,omitempty"`
	Dropout float64  `json:"dropout,omitempty"` // of A's input in training, 0 … 1
	// Train are globs of parameters that are trained beside the new ones. Everything else is frozen.
	Train []string `json:"train,omitempty"`
}
