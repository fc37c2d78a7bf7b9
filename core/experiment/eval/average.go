package eval

import (
	"context"

	"tandem/core/clip"
	"tandem/core/fault"
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
