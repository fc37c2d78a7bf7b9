package loss

import "tandem/core/engine/graph"

// The parts of contrastive losses of two directions, as they are called in results.
const (
	ImageToText = "image_to_text" // each image finds its text
	TextToImage = "text_to_image" // each text finds its image
)

// A Contrast tells images from the texts of other pairs, and texts from the images.
type Contrast struct {
	Image, Text *graph.Node // [Size, D]; left out: those of the batch
	// Logits gives those of rows [n, D] of one side with all of the other, [n, Size]; left out: Batch.Logits.
	Logits func(rows, all *graph.Node) *graph.Node
	// Losses gives those of rows of logits [n, Size], in nats, whose partners are i32 [n]; left out: cross-entropy.
	Losses func(logits, partners *graph.Node) *graph.Node
	// Direction leaves out a part: "image" keeps ImageToText, "text" TextToImage; "both" and "" keep both.
	Direction string
	// Weight of what is kept, which two directions share; 0: 1.
	Weight float64
}

// Logits computes exp(logit_scale)·rows·allᵀ: rows [n, D], all [m, D] → [n, m].
func (b Batch) Logits(rows, all *graph.Node) *graph.Node {
	return graph.ScaleByExp(graph.MatMul(rows, all, false, true), b.Scalars[LogitScale])
}

// Contrast returns the parts of c, a batch that is not Whole in blocks.
func (b Batch) Contrast(c Contrast) (parts []Part) {
	if c.Image == nil {
		c.Image = b.Image
	}
	if c.Text == nil {
		c.Text = b.Text
	}
	if c.Logits == nil {
		c.Logits = b.Logits
	}
	if c.Losses == nil {
		c.Losses = func(logits, partners *graph.Node) *graph.Node { return graph.CrossEntropy(logits, partners, 0) }
	}
	if c.Weight == 0 {
		c.Weight = 1
	}
	if c.Direction == "both" || c.Direction == "" {
		c.Weight /= 2
	}
	images := func() *graph.Node { return b.contrasted(c, c.Image, c.Text) }
	texts := func() *graph.Node { return b.contrasted(c, c.Text, c.Image) }
	if b.Whole() && b.Rows == b.Size { // both directions read the same logits
		s, partners := c.Logits(c.Image, c.Text), b.Partners(0, b.Size)
		images = func() *graph.Node { return c.Losses(s, partners) }
		texts = func() *graph.Node { return c.Losses(graph.Transpose(s), partners) }
	}
	if c.Direction != "text" {
		parts = append(parts, Part{Name: ImageToText, Weight: c.Weight, Losses: images()})
	}
	if c.Direction != "image" {
		parts = append(parts, Part{Name: TextToImage, Weight: c.Weight, Losses: texts()})
	}
	return parts
}

// contrasted gives the losses of each row of one side against all of the other, in blocks.
func (b Batch) contrasted(c Contrast, rows, all *graph.Node) *graph.Node {
	return b.Blocks(rows, func(rows, partners *graph.Node) *graph.Node { return c.Losses(c.Logits(rows, all), partners) })
}
