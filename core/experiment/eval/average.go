package eval

import (
	"context"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/results/metric"
	"tandem/core/tensor"
)

// WithAverage returns an encoder that computes as e does with its averaged weights (clip.ForwardRequest.EMA).
func WithAverage(e clip.Encoder) clip.Encoder { return average{e} }

type average struct{ clip.Encoder }

// Forward implements clip.Encoder.
func (a average) Forward(ctx context.Context, req clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	req.EMA = true
	return a.Encoder.Forward(ctx, req)
}

// CountTokens implements clip.TokenCounter.
func (a average) CountTokens(ctx context.Context, c *clip.EncoderConfig, texts []string) ([]int, int, error) {
	if e, ok := a.Encoder.(clip.TokenCounter); ok {
		return e.CountTokens(ctx, c, texts)
	}
	return nil, 0, fault.New(fault.Unavailable, "the encoder does not count tokens")
}

// embed embeds the pictures of a batch and takes the samples at places of it.
func (s *samples) embed(ctx context.Context, cfg Config, image clip.Encoder, b *clip.Batch, places []int) error {
	emb, _, err := image.Forward(ctx, clip.ForwardRequest{Images: b.Images, Mode: clip.Eval})
	if err != nil {
		return err
	}
	s.add(b, places)
	s.images.pick(emb, places)
	emb.Free()
	if !cfg.Average.Image {
		return nil
	}
	if emb, _, err = WithAverage(image).Forward(ctx, clip.ForwardRequest{Images: b.Images, Mode: clip.Eval}); err != nil {
		return err
	}
	s.averaged.pick(emb, places)
	emb.Free()
	return nil
}

// measureAverage measures by the averaged weights that cfg names. classes are those of the live text tower.
func (s *samples) measureAverage(ctx context.Context, cfg Config, text clip.Encoder, classes *matrix, target clip.Target, f *Figures) (err error) {
	images, told := &s.images, &counter{mute: true}
	if cfg.Average.Image {
		images = &s.averaged
	}
	if cfg.Average.Text {
		text = WithAverage(text)
		if classes != nil {
			if classes, err = classFeatures(ctx, text, target.Classes, cfg.ZeroShot.Templates, cfg.BatchSize, told); err != nil {
				return err
			}
		}
	}
	cfg.Name = metric.Averaged(cfg.Name)
	return s.measure(ctx, cfg, text, images, classes, target, told, f)
}

// pick appends rows of a tensor.
func (m *matrix) pick(t *tensor.Tensor, places []int) {
	d, rows := t.Shape[1], t.F32()
	m.cols = d
	m.rows += len(places)
	for _, at := range places {
		m.data = append(m.data, rows[at*d:(at+1)*d]...)
	}
}
