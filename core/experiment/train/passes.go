package train

import (
	"context"
	"slices"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// The inputs that every loss takes, beside those of core/clip.
const (
	inputImage = "image"
	inputText  = "text"
)

// The encoders of a step by place. Those from firstTeacher on are frozen teachers.
const (
	imageTower = iota
	textTower
	firstTeacher
)

func (t *Trainer) encoders() [4]clip.Encoder {
	return [4]clip.Encoder{t.parts.Image, t.parts.Text, t.parts.Teachers[0], t.parts.Teachers[1]}
}

// A pass describes one forward of an encoder in every step, and the inputs of the loss that come of it.
type pass struct {
	encoder int    // by place
	input   string // takes the embeddings
	tokens  string // takes the tokens; "": nothing does
	second  bool   // the encoder has another pass before, whose random numbers differ
}

// passes lists the forwards of a step, those of one encoder in the order in which they come.
func (p Parts) passes() ([]pass, error) {
	wants := func(input string) bool { return slices.Contains(p.Inputs, input) }
	token := func(input string) string {
		if wants(input) {
			return input
		}
		return ""
	}
	list := []pass{{encoder: imageTower, input: inputImage, tokens: token(clip.InputImageTokens)}}
	if wants(clip.InputImageView2) {
		list = append(list, pass{encoder: imageTower, input: clip.InputImageView2, second: true})
	}
	list = append(list, pass{encoder: textTower, input: inputText, tokens: token(clip.InputTextTokens)})
	if wants(clip.InputTextNegatives) {
		list = append(list, pass{encoder: textTower, input: clip.InputTextNegatives, second: true})
	}
	for i, input := range []string{clip.InputTeacherImage, clip.InputTeacherText} {
		if wants(input) {
			list = append(list, pass{encoder: firstTeacher + i, input: input})
		}
	}
	return list, p.check(list)
}

// check reports parts that cannot give the loss what it takes. Specs are checked for it before.
func (p Parts) check(list []pass) error {
	for _, x := range list {
		e := [4]clip.Encoder{p.Image, p.Text, p.Teachers[0], p.Teachers[1]}[x.encoder]
		if _, ok := e.(clip.TokenEncoder); x.tokens != "" && !ok {
			return fault.New(fault.Invalid, "the loss takes %s, and the encoder gives no tokens", x.tokens)
		}
		if e == nil {
			return fault.New(fault.Invalid, "the loss takes %s, and there is no such teacher", x.input)
		}
		if x.input == clip.InputTextNegatives && p.Negatives < 1 {
			return fault.New(fault.Invalid, "the loss takes %s, and the dataset gives none", x.input).WithPath("data.train.with")
		}
	}
	return nil
}

// wants reports whether the loss takes an input beside image and text.
func (t *Trainer) wants(input string) bool { return slices.Contains(t.parts.Inputs, input) }

// output holds what came of a pass; of a gradient, what goes back into it.
type output struct {
	embedding *tensor.Tensor
	tokens    *tensor.Tensor
	lengths   *tensor.Tensor
	ticket    clip.Ticket
	merged    *merged // where equal texts were computed once; nil: each was by itself
}

func freeOutputs(list []output) {
	for _, o := range list {
		freeAll([]*tensor.Tensor{o.embedding, o.tokens, o.lengths})
	}
}

// forward embeds a micro-batch in all passes, the encoders at once where the config says so. next is the micro-batch
// whose pictures come after it, if it is known. again says that it was embedded before in this step, so that only the
// towers with a backward pass to come are run. A tower that takes all micro-batches at once is left out.
func (t *Trainer) forward(ctx context.Context, b, next *micro, mode clip.Mode, number int, again bool) ([]output, error) {
	outs := make([]output, len(t.passes))
	err := t.each(ctx, len(t.lanes), func(ctx context.Context, i int) (err error) {
		if again && (i >= firstTeacher || t.frozen(i)) || i == imageTower && t.whole() {
			return nil
		}
		for at, k := range t.lanes[i] {
			q := clip.ForwardRequest{Mode: mode, Step: t.state.Step, Micro: number}
			if t.passes[k].second {
				q.Micro += t.micro // of M micro-batches the second forward of m has the numbers of m + M
			}
			if i == imageTower && t.parts.Ahead {
				b.announce(&q, t.passes, t.lanes[i][at:], next)
			}
			if outs[k], err = t.run(ctx, t.passes[k], b, q); err != nil {
				return err
			}
		}
		if i == textTower {
			return t.countMeanwhile(ctx)
		}
		return nil
	})
	if err != nil {
		freeOutputs(outs)
		return nil, err
	}
	return outs, nil
}

// run embeds what one pass is about.
func (t *Trainer) run(ctx context.Context, p pass, b *micro, q clip.ForwardRequest) (output, error) {
	if p.encoder == textTower || p.encoder == firstTeacher+1 {
		return t.runTexts(ctx, p, b, q)
	}
	q.Images, _ = b.pictures(p)
	return t.embedPass(ctx, p, b, q)
}

// embedPass asks the encoder of a pass.
func (t *Trainer) embedPass(ctx context.Context, p pass, b *micro, q clip.ForwardRequest) (out output, err error) {
	e := t.encoders()[p.encoder]
	switch {
	case p.encoder >= firstTeacher:
		q.Mode = clip.Eval
		out.embedding, _, err = e.Forward(ctx, q)
	case p.tokens != "":
		var tokens clip.TokenOutput
		tokens, out.ticket, err = e.(clip.TokenEncoder).ForwardTokens(ctx, q)
		out.embedding, out.tokens, out.lengths = tokens.Embedding, tokens.Tokens, tokens.Lengths
	case t.remember[p.encoder] == nil:
		out.embedding, out.ticket, err = e.Forward(ctx, q)
	case p.encoder == imageTower:
		out.embedding, err = t.embedImages(ctx, b, q)
	default:
		out.embedding, err = t.embedTexts(ctx, q)
	}
	return out, err
}

// texts returns the texts of a pass: the captions, or the negatives, those of a sample together.
func (m *micro) texts(p pass) []string {
	if p.input == clip.InputTextNegatives {
		return slices.Concat(m.Negatives...)
	}
	return m.Captions
}

// pictures returns the pictures of a pass, and the name of their content.
func (m *micro) pictures(p pass) (*tensor.Tensor, uint64) {
	if p.input == clip.InputImageView2 {
		return m.Images2, m.id2
	}
	return m.Images, m.id
}

// announce names the pictures of the first of the image tower's passes that are left, and those that come after them:
// of the pass that follows, or of the next micro-batch.
func (m *micro) announce(q *clip.ForwardRequest, passes []pass, left []int, next *micro) {
	images, id := m.pictures(passes[left[0]])
	if images == nil {
		return
	}
	q.ID = id
	switch {
	case len(left) > 1:
		q.Next, q.NextID = m.pictures(passes[left[1]])
	case next != nil && next.Images != nil:
		q.Next, q.NextID = next.Images, next.id
	}
}

// backward gives the towers their gradients, one for each pass. With squares they are the last of the step, and it
// fills in the norms.
func (t *Trainer) backward(ctx context.Context, outs, grads []output, squares *norms) error {
	if squares != nil && t.ranks.many() {
		return t.backwardTogether(ctx, outs, grads, squares)
	}
	return t.each(ctx, firstTeacher, func(ctx context.Context, i int) (err error) {
		if t.frozen(i) || i == imageTower && squares == nil && t.whole() {
			return nil
		}
		for at, k := range t.lanes[i] {
			var square *float64
			if squares != nil && at == len(t.lanes[i])-1 {
				square = &squares[i]
			}
			if err := giveBack(ctx, t.encoders()[i], outs[k].ticket, outs[k].gradient(grads[k]), square); err != nil {
				return err
			}
		}
		return nil
	})
}

// giveBack runs one backward pass. With square it is the encoder's last of the step, and square becomes the gradient's
// sum of squares.
func giveBack(ctx context.Context, e clip.Encoder, ticket clip.Ticket, grad output, square *float64) (err error) {
	if n, ok := e.(clip.BackwardTokensNormer); ok && square != nil && grad.tokens != nil {
		*square, err = n.BackwardTokensNorm(ctx, ticket, grad.embedding, grad.tokens)
		return err
	}
	if n, ok := e.(clip.BackwardNormer); ok && square != nil && grad.tokens == nil {
		*square, err = n.BackwardNorm(ctx, ticket, grad.embedding)
		return err
	}
	if grad.tokens != nil {
		err = e.(clip.TokenEncoder).BackwardTokens(ctx, ticket, grad.embedding, grad.tokens)
	} else {
		err = e.Backward(ctx, ticket, grad.embedding)
	}
	if err == nil && square != nil {
		*square, err = e.GradNorm(ctx)
	}
	return err
}
