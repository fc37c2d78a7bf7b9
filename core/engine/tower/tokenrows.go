package tower

import (
	"context"
	"slices"

	"tandem/core/clip"
	"tandem/core/engine/graph"
	"tandem/core/engine/nn"
	"tandem/core/engine/program"
	"tandem/core/fault"
	"tandem/core/tensor"
)

var _ clip.TokenEncoder = (*encoder)(nil)

// ForwardTokens implements clip.TokenEncoder, for networks with a second output. In mode Raw neither output is
// normalised.
func (e *encoder) ForwardTokens(ctx context.Context, req clip.ForwardRequest) (clip.TokenOutput, clip.Ticket, error) {
	if e.configured && e.front.tokenCount() == 0 {
		return clip.TokenOutput{}, 0, fault.New(fault.Invalid, "the network gives one embedding for each sample, and none for its tokens").
			WithOp("forward").WithHint("vit and transformer have tokens; in a plugin of its own, tower.ImageTokenModel or tower.TextTokenModel")
	}
	return e.forward(ctx, req, true)
}

// BackwardTokens implements clip.TokenEncoder.
func (e *encoder) BackwardTokens(ctx context.Context, t clip.Ticket, grad, tokens *tensor.Tensor) error {
	if _, ok := e.tickets[t]; ok && tokens == nil {
		return fault.New(fault.Invalid, "the gradient of the tokens is missing").WithOp("backward")
	}
	return e.backward(ctx, t, grad, tokens, false)
}

// readTokens takes the tokens of a forward pass off the device, with their lengths, and notes where they stood. Where there are several
// parts, all are of pictures, whose tokens do not depend on the call.
func (e *encoder) readTokens(f *flight, req clip.ForwardRequest, out *clip.TokenOutput) error {
	out.Lengths = program.Place(req.IntoLengths, tensor.I32, f.batch())
	out.Tokens = program.Place(req.IntoTokens, tensor.F32, f.batch(), e.front.tokenCount(), e.dim)
	e.session.Share(out.Tokens)
	for k, i := range f.instances {
		n := len(f.instances)
		spans, err := e.readPartsTokens(f.program, i, rows(out.Tokens, k, n).F32(), rows(out.Lengths, k, n).I32())
		if err != nil {
			return err
		}
		f.spans = append(f.spans, spans)
	}
	return nil
}

func (e *encoder) readPartsTokens(p *compiled, i *graph.Instance, tokens []float32, lengths []int32) ([]span, error) {
	count, rows := e.front.tokenCount(), &p.Extra.second
	spans := rows.spans(&e.call, p.Key.batch, e.modality == clip.Text)
	for i, s := range spans {
		lengths[i] = int32(s.n)
	}
	if rows.full(spans, count) {
		return spans, i.Read(1, tokens)
	}
	rows.scratch = grow(rows.scratch, rows.rows*e.dim)
	if err := i.Read(1, rows.scratch); err != nil {
		return nil, err
	}
	spread(tokens, rows.scratch, spans, count, e.dim)
	return spans, nil
}

// setTokenGrad sets the gradient of a flight's tokens; nil stands for zero.
func (e *encoder) setTokenGrad(f flight, grad *tensor.Tensor) {
	count, second := e.front.tokenCount(), &f.program.Extra.second
	e.session.Share(grad)
	for k, i := range f.instances {
		switch {
		case grad == nil:
			e.session.Backend.Zero(i.Grad(1))
		case second.full(f.spans[k], count):
			i.SetGrad(1, rows(grad, k, len(f.instances)).F32())
		default:
			second.scratch = grow(second.scratch, second.rows*e.dim)
			collect(second.scratch, rows(grad, k, len(f.instances)).F32(), f.spans[k], count, e.dim)
			i.SetGrad(1, second.scratch)
		}
	}
}

// tokenRows places the tokens of samples in the rows of a program's second output: one sample's after another's, of
// perSample rows each, or, where that is 0, as nn.Call.Starts says.
type tokenRows struct {
	rows, perSample int
	scratch         []float32
}

// newTokenRows reads the places from the output's shape, [B, K, D] or [N, D].
func newTokenRows(tokens *graph.Node) tokenRows {
	r := tokenRows{rows: tokens.Elements() / max(tokens.Dim(-1), 1)}
	if tokens.Dims() == 3 {
		r.perSample = tokens.Dim(1)
	}
	return r
}

// span locates the tokens of one sample.
type span struct{ from, n int }

// spans returns the place of each sample's tokens. Captions have a length of their own, pictures have perSample.
func (r *tokenRows) spans(c *nn.Call, batch int, ofTexts bool) []span {
	s := make([]span, batch)
	for i := range s {
		if ofTexts {
			s[i] = span{int(c.Starts[i]), int(c.Lengths[i])}
		} else {
			s[i] = span{i * r.perSample, r.perSample}
		}
	}
	return s
}

// full reports whether every sample has count tokens, so that the rows are those that the caller sees.
func (r *tokenRows) full(spans []span, count int) bool {
	return r.rows == len(spans)*count && !slices.ContainsFunc(spans, func(s span) bool { return s.n != count })
}

// spread copies rows of dim elements to [len(spans), count, dim]. Rows after a sample's own are zero.
func spread(dst, rows []float32, spans []span, count, dim int) {
	for i, s := range spans {
		own := dst[i*count*dim : (i+1)*count*dim]
		clear(own[copy(own, rows[s.from*dim:(s.from+s.n)*dim]):])
	}
}

// collect does the contrary of spread: it copies the samples' own rows to theirs. Rows of no sample are zero.
func collect(rows, src []float32, spans []span, count, dim int) {
	clear(rows)
	for i, s := range spans {
		copy(rows[s.from*dim:(s.from+s.n)*dim], src[i*count*dim:])
	}
}
