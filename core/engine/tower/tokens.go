package tower

import (
	"context"

	"tandem/core/clip"
	"tandem/core/engine/program"
	"tandem/core/fault"
)

var _ clip.TokenCounter = (*encoder)(nil)

// CountTokens implements clip.TokenCounter. With a configuration it makes the tokenizer and no parameters.
func (e *encoder) CountTokens(ctx context.Context, c *clip.EncoderConfig, texts []string) ([]int, int, error) {
	const op = "count tokens"
	f := e.front
	if c == nil {
		if err := e.ready(ctx, op); err != nil {
			return nil, 0, err
		}
	} else {
		if e.configured || e.closed {
			return nil, 0, fault.New(fault.Conflict, "the encoder is configured or closed already").WithOp(op)
		}
		if err := validate(*c); err != nil {
			return nil, 0, err
		}
		var err error
		if f, err = e.build(*c); err != nil {
			return nil, 0, err
		}
	}
	text, ok := f.(*textFront)
	if !ok || text.tokenizer == nil {
		return nil, 0, fault.New(fault.Unavailable, "there is no tokenizer").WithOp(op)
	}
	tokens := make([]int, len(texts))
	for i, t := range texts {
		if err := program.CheckContext(ctx, op); err != nil {
			return nil, 0, err
		}
		tokens[i] = len(text.tokenizer.Encode(t, 0))
	}
	return tokens, text.ContextLength(), nil
}
