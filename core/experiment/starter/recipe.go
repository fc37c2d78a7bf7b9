package starter

import "math"

// Recipe holds what is guessed from the amount and the kind of data.
type Recipe struct {
	ImageSize, PatchSize     int
	Width, Layers            int // of the image tower
	TextWidth, TextLayers    int
	Context, Vocabulary      int
	EmbedDim                 int
	TestShare                float64 // of the pictures; 0: none can be spared, or they are kept apart already
	Batch, Epochs            int
	Steps, Warmup, EvalEvery int // EvalEvery counts epochs
	LR                       float64
}

// Recipe guesses a recipe that trains in minutes to hours on a processor with a few cores, from scratch.
func (d *Data) Recipe() Recipe {
	r := Recipe{LR: 1e-3}
	switch side := min(d.PictureWidth, d.PictureHeight); {
	case side > 0 && side < 48:
		r.ImageSize, r.PatchSize = 32, 4
	case side < 112:
		r.ImageSize, r.PatchSize = 64, 8
	default:
		r.ImageSize, r.PatchSize = 96, 12
	}
	n := d.Train.Pictures
	if d.Eval == nil && n >= fewest {
		r.TestShare = 0.1
		if n < 1000 {
			r.TestShare = 0.2
		}
		n -= int(math.Round(r.TestShare * float64(n)))
	}
	switch {
	case n < 5_000:
		r.Width, r.Layers, r.TextWidth, r.TextLayers, r.EmbedDim, r.Vocabulary = 128, 4, 128, 2, 128, 1024
	case n < 100_000:
		r.Width, r.Layers, r.TextWidth, r.TextLayers, r.EmbedDim, r.Vocabulary, r.LR = 256, 6, 256, 4, 256, 4096, 5e-4
	default:
		r.Width, r.Layers, r.TextWidth, r.TextLayers, r.EmbedDim, r.Vocabulary, r.LR = 384, 8, 384, 6, 384, 16384, 5e-4
	}
	// A word takes between one and two tokens of a learned vocabulary; two more begin and end the text.
	words := max(d.Words, 6)
	r.Context = min(77, max(16, (words*3/2+2+7)/8*8))

	const most = 256
	r.Batch = 2
	for r.Batch*2 <= most && r.Batch*4 <= n && (d.Captions || r.Batch < max(8, 4*d.NClasses)) {
		r.Batch *= 2
	}
	perEpoch := max(1, n/r.Batch)
	const steps = 2000
	r.Epochs = min(100, max(5, (steps+perEpoch-1)/perEpoch))
	r.Steps = r.Epochs * perEpoch
	r.Warmup = min(500, max(1, r.Steps/10))
	r.EvalEvery = max(1, r.Epochs/10)
	return r
}

// fewest bounds the number of pictures from below of which some are held out for evaluation.
const fewest = 30
