package eval

import (
	"context"

	"tandem/core/clip"
	"tandem/core/tensor"
)

// Cosines returns the cosines of pictures, u8 [N, S, S, 3], with classes given by prompts, as in a zero-shot
// classification: [N][len(classes)]. Texts counts the prompts.
func Cosines(ctx context.Context, image, text clip.Encoder, pictures *tensor.Tensor, classes, templates []string) ([][]float32, Texts, error) {
	const batch = 256
	all, err := encodeTexts(ctx, text, prompts(classes, templates), batch, false, nil)
	if err != nil {
		return nil, Texts{}, err
	}
	emb, _, err := image.Forward(ctx, clip.ForwardRequest{Images: pictures, Mode: clip.Eval})
	if err != nil {
		return nil, Texts{}, err
	}
	defer emb.Free()
	var images Matrix
	images.append(emb)
	out := make([][]float32, images.Rows)
	Similarities(&images, ensembles(&all.Features, len(classes), len(templates)), func(i int, row []float32) { out[i] = append([]float32(nil), row...) })
	return out, all.Count, nil
}
