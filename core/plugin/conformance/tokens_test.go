package conformance

import (
	"context"
	"math"
	"testing"

	"tandem/core/clip"
	"tandem/core/tensor"
)

const tokenCount = 3

// tokenLinear gives tokens beside linear's embedding: token k of a picture embeds it with pixel k doubled. Sample i has
// 1 + i mod 3 of them. It may break a rule.
type tokenLinear struct {
	*linear
	fault string
}

func (l *tokenLinear) Configure(ctx context.Context, c clip.EncoderConfig) (clip.EncoderInfo, error) {
	info, err := l.linear.Configure(ctx, c)
	if info.TokenCount = tokenCount; l.fault == "counts no tokens" {
		info.TokenCount = 0
	}
	return info, err
}

// token returns the pixels of a token, and what the weights make of them.
func (l *tokenLinear) token(pixels []float32, k int) (x, y []float32) {
	x, y = append([]float32(nil), pixels...), make([]float32, l.d)
	x[k] *= 2
	for j := range y {
		for n := range 12 {
			y[j] += x[n] * l.w[n*l.d+j]
		}
	}
	return x, y
}

func (l *tokenLinear) ForwardTokens(ctx context.Context, q clip.ForwardRequest) (out clip.TokenOutput, ticket clip.Ticket, err error) {
	if out.Embedding, ticket, err = l.Forward(ctx, q); err != nil {
		return out, 0, err
	}
	b := q.Images.Shape[0]
	out.Tokens, out.Lengths = tensor.New(tensor.F32, b, tokenCount, l.d), tensor.New(tensor.I32, b)
	for i := range b {
		pixels := make([]float32, 12)
		for n := range pixels {
			pixels[n] = float32(q.Images.U8()[i*12+n])/255 - .5
		}
		own := 1 + i%tokenCount
		out.Lengths.I32()[i] = int32(own)
		for k := range tokenCount {
			if k >= own && l.fault != "fills all rows" {
				continue
			}
			_, y := l.token(pixels, k)
			norm := float32(math.Sqrt(dot(y, y)))
			if l.fault == "no unit rows" {
				norm = 1
			}
			for j, v := range y {
				out.Tokens.F32()[(i*tokenCount+k)*l.d+j] = v / norm
			}
		}
	}
	switch l.fault {
	case "a length too many":
		out.Lengths.I32()[0] = tokenCount + 1
	case "no lengths":
		out.Lengths = nil
	case "another embedding":
		out.Embedding.F32()[0] += .1
	}
	return out, ticket, nil
}

func (l *tokenLinear) BackwardTokens(ctx context.Context, t clip.Ticket, grad, tokens *tensor.Tensor) error {
	x := l.tickets[t].x
	if err := l.Backward(ctx, t, grad); err != nil || l.fault == "forgets the tokens" {
		return err
	}
	for i := range x.Shape[0] {
		own := 1 + i%tokenCount
		if l.fault == "learns from all rows" {
			own = tokenCount
		}
		for k := range own {
			x, y := l.token(x.F32()[i*12:(i+1)*12], k)
			g := tokens.F32()[(i*tokenCount+k)*l.d:][:l.d]
			norm := math.Sqrt(dot(y, y))
			for j := range g {
				dy := (float64(g[j]) - dot(y, g)/norm/norm*float64(y[j])) / norm
				for n := range 12 {
					l.g[n*l.d+j] += x[n] * float32(dy)
				}
			}
		}
	}
	return nil
}

func TestEveryRuleOfTokensCanBeBroken(t *testing.T) {
	breaks(t, func(fault string) []Finding {
		return CheckEncoder(func() clip.Encoder { return &tokenLinear{&linear{}, fault} },
			EncoderOptions{Outputs: []string{clip.OutputTokens}, Only: []string{"tokens", "token gradient"}})
	}, map[string]string{
		"counts no tokens":     "tokens",
		"fills all rows":       "tokens",
		"no unit rows":         "tokens",
		"a length too many":    "tokens",
		"no lengths":           "tokens",
		"another embedding":    "tokens",
		"forgets the tokens":   "token gradient",
		"learns from all rows": "token gradient",
	})
}
