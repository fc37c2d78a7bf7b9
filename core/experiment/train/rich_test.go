package train_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"tandem/core/clip"
	"tandem/core/experiment/train"
	"tandem/core/tensor"
)

// rich implements a dataset with all that losses may take. Every third sample is in a group with the next.
type rich struct {
	patterns
	broken int // samples whose index is a multiple cannot be read; 0: all can
	asked  []clip.BatchRequest
	// fewTexts makes captions and negatives repeat.
	fewTexts bool
}

const negatives = 2

func (d *rich) Batch(ctx context.Context, q clip.BatchRequest) (*clip.Batch, error) {
	d.asked = append(d.asked, q)
	b, err := d.patterns.Batch(ctx, q)
	if err != nil {
		return nil, err
	}
	for i, index := range q.Indices {
		b.Groups = append(b.Groups, int64(index-min(1, index%3)))
		if d.broken > 0 && index%d.broken == 0 {
			b.Faults = append(b.Faults, clip.SampleFault{Index: index, Key: b.Keys[i], Msg: "broken"})
		}
	}
	if q.Negatives {
		for _, index := range q.Indices {
			b.Negatives = append(b.Negatives, []string{fmt.Sprintf("not %d", index*7), fmt.Sprintf("nor %d in %d", index*13, q.Epoch)})
		}
	}
	for i, index := range q.Indices {
		if d.fewTexts {
			b.Captions[i] = fmt.Sprintf("class %d", index%3)
			for k := range b.Negatives[i] {
				b.Negatives[i][k] = fmt.Sprintf("not class %d", (index+k)%4)
			}
		}
	}
	if q.View2 {
		b.Images2 = b.Images.Clone()
		for i, index := range q.Indices {
			rng := rand.New(rand.NewPCG(uint64(index), uint64(3+q.Epoch)))
			for j := range feats {
				b.Images2.U8()[i*feats+j] += byte(rng.IntN(20))
			}
		}
	}
	return b, nil
}

// tokenTower is a linear tower that also embeds parts of a sample: its features turned by one, by two, …
type tokenTower struct {
	*linear
	asked []clip.ForwardRequest
	norms int // backward passes that were asked for the norm
}

const tokens = 3

func (l *tokenTower) Forward(ctx context.Context, q clip.ForwardRequest) (*tensor.Tensor, clip.Ticket, error) {
	l.asked = append(l.asked, q)
	return l.linear.Forward(ctx, q)
}

func (l *tokenTower) ForwardTokens(ctx context.Context, q clip.ForwardRequest) (clip.TokenOutput, clip.Ticket, error) {
	l.asked = append(l.asked, q)
	out, ticket, err := l.linear.Forward(ctx, q)
	if err != nil {
		return clip.TokenOutput{}, 0, err
	}
	rows := features(q)
	n := len(rows)
	list, lengths := tensor.New(tensor.F32, n, tokens, l.dim), tensor.New(tensor.I32, n)
	for i, x := range rows[:n] {
		lengths.I32()[i] = int32(1 + int(math.Abs(x[0])*100)%tokens)
		for k := range int(lengths.I32()[i]) {
			u, _ := l.project(turned(x, k))
			for d, v := range u {
				list.F32()[(i*tokens+k)*l.dim+d] = float32(v)
			}
		}
	}
	if ticket != 0 {
		for i, x := range rows {
			for k := range tokens {
				if k >= int(lengths.I32()[i]) {
					l.tickets[ticket] = append(l.tickets[ticket], nil)
					continue
				}
				l.tickets[ticket] = append(l.tickets[ticket], turned(x, k))
			}
		}
	}
	return clip.TokenOutput{Embedding: out, Tokens: list, Lengths: lengths}, ticket, nil
}

func turned(x []float64, k int) []float64 { return slices.Concat(x[k+1:], x[:k+1]) }

func (l *tokenTower) BackwardTokens(ctx context.Context, t clip.Ticket, grad, list *tensor.Tensor) error {
	all := tensor.New(tensor.F32, grad.Shape[0]*(1+tokens), l.dim)
	copy(all.Data[copy(all.Data, grad.Data):], list.Data)
	var rows [][]float64
	kept := tensor.New(tensor.F32, len(l.tickets[t]), l.dim)
	for i, x := range l.tickets[t] {
		if x != nil {
			copy(kept.F32()[len(rows)*l.dim:], all.F32()[i*l.dim:(i+1)*l.dim])
			rows = append(rows, x)
		}
	}
	l.tickets[t] = rows
	return l.Backward(ctx, t, kept)
}

func (l *tokenTower) BackwardNorm(ctx context.Context, t clip.Ticket, grad *tensor.Tensor) (float64, error) {
	l.norms++
	if err := l.Backward(ctx, t, grad); err != nil {
		return 0, err
	}
	return l.GradNorm(ctx)
}

func (l *tokenTower) BackwardTokensNorm(ctx context.Context, t clip.Ticket, grad, list *tensor.Tensor) (float64, error) {
	l.norms++
	if err := l.BackwardTokens(ctx, t, grad, list); err != nil {
		return 0, err
	}
	return l.GradNorm(ctx)
}

// everything implements a loss that takes every input: a weighted sum of dot products between them.
type everything struct {
	clipLoss
	groups [][]int32 // as they came
	lacks  string    // gives no gradient of this input
}

// dot adds weight·a·b to the value, and its gradients to da and db, which may be nil.
func dot(value *float64, weight float64, a, b, da, db []float32) {
	for d := range a {
		*value += weight * float64(a[d]) * float64(b[d])
		if da != nil {
			da[d] += float32(weight * float64(b[d]))
		}
		if db != nil {
			db[d] += float32(weight * float64(a[d]))
		}
	}
}

func (e *everything) Compute(ctx context.Context, q clip.LossRequest) (*clip.LossResult, error) {
	r, err := e.clipLoss.Compute(ctx, q)
	if err != nil {
		return nil, err
	}
	n, dim := q.Image.Shape[0], q.Image.Shape[1]
	r.Gradients = map[string]*tensor.Tensor{}
	for name, in := range q.Inputs {
		if clip.DifferentiableInput(name) && name != e.lacks {
			r.Gradients[name] = tensor.New(tensor.F32, in.Value.Shape...)
		}
	}
	at := func(t *tensor.Tensor, i int) []float32 {
		if t == nil {
			return nil
		}
		return t.F32()[i*dim : (i+1)*dim]
	}
	in := func(name string, i int) []float32 { return at(q.Inputs[name].Value, i) }
	back := func(name string, i int) []float32 { return at(r.Gradients[name], i) }
	groups := q.Inputs[clip.InputGroups].Value.I32()
	e.groups = append(e.groups, slices.Clone(groups))
	for i := range n {
		v, t, dv, dt, w := at(q.Image, i), at(q.Text, i), at(r.DImage, i), at(r.DText, i), 1/float64(n)
		for k := range negatives {
			dot(&r.Value, w*float64(1+k), v, in(clip.InputTextNegatives, i*negatives+k), dv, back(clip.InputTextNegatives, i*negatives+k))
		}
		dot(&r.Value, -w, v, in(clip.InputImageView2, i), dv, back(clip.InputImageView2, i))
		dot(&r.Value, -2*w, v, in(clip.InputTeacherImage, i), dv, nil)
		dot(&r.Value, -3*w, t, in(clip.InputTeacherText, i), dt, nil)
		for k := range int(q.Inputs[clip.InputImageTokens].Lengths.I32()[i]) {
			dot(&r.Value, w, t, in(clip.InputImageTokens, i*tokens+k), dt, back(clip.InputImageTokens, i*tokens+k))
		}
		for k := range int(q.Inputs[clip.InputTextTokens].Lengths.I32()[i]) {
			dot(&r.Value, -w, v, in(clip.InputTextTokens, i*tokens+k), dv, back(clip.InputTextTokens, i*tokens+k))
		}
		for j := range i {
			if groups[i] == groups[j] {
				dot(&r.Value, -w, v, at(q.Image, j), dv, at(r.DImage, j))
			}
		}
	}
	return r, nil
}

// richParts returns parts whose loss takes every input.
func richParts() train.Parts {
	p := parts()
	p.Data = &rich{patterns: patterns{samples}}
	p.Image, p.Text = &tokenTower{linear: newLinear(6, 1)}, &tokenTower{linear: newLinear(6, 2)}
	p.Loss = &everything{clipLoss: clipLoss{s: []float64{1}, g: []float64{0}}}
	p.Inputs, p.Negatives = clip.LossInputs, negatives
	p.Teachers = [2]clip.Encoder{newLinear(6, 8), newLinear(6, 9)}
	return p
}

func richWeights(p train.Parts) []*float64 {
	var all []*float64
	for _, list := range [][]float64{p.Image.(*tokenTower).w, p.Text.(*tokenTower).w, p.Loss.(*everything).s} {
		for i := range list {
			all = append(all, &list[i])
		}
	}
	return all
}

func valuesOf(p train.Parts) (out []float64) {
	for _, w := range richWeights(p) {
		out = append(out, *w)
	}
	return out
}
