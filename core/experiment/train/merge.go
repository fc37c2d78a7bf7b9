package train

import (
	"context"
	"math/bits"

	"tandem/core/clip"
	"tandem/core/tensor"
)

// merged holds the texts of a pass with equal ones once.
type merged struct {
	texts []string // in the order in which each comes first; then some again, of which nobody asks
	place []int    // of each text of the pass, its place in texts
}

// mergeTexts returns nil where merging leaves no fewer texts to compute. The number of texts is rounded up to four
// binary digits, as encoders compile a program for each number; the shortest fills up.
func mergeTexts(texts []string) *merged {
	m := &merged{place: make([]int, len(texts))}
	first, shortest := map[string]int{}, ""
	for i, text := range texts {
		at, known := first[text]
		if !known {
			at = len(m.texts)
			first[text] = at
			m.texts = append(m.texts, text)
			if at == 0 || len(text) < len(shortest) {
				shortest = text
			}
		}
		m.place[i] = at
	}
	for !isRound(len(m.texts)) {
		m.texts = append(m.texts, shortest)
	}
	if len(m.texts) >= len(texts) {
		return nil
	}
	return m
}

// isRound reports whether a number has at most four binary digits before its zeros.
func isRound(n int) bool { return bits.Len(uint(n))-bits.TrailingZeros(uint(n)) <= 4 }

// runTexts embeds the texts of a pass, equal ones once where the config says so.
func (t *Trainer) runTexts(ctx context.Context, p pass, b *micro, q clip.ForwardRequest) (output, error) {
	q.Texts = b.texts(p)
	kept := p.encoder == textTower && t.remember[textTower] != nil // each text is computed once in the whole run
	if !t.cfg.DeduplicateCaptions || kept {
		return t.embedPass(ctx, p, b, q)
	}
	asked := len(q.Texts)
	m := mergeTexts(q.Texts)
	if m != nil {
		q.Texts = m.texts
	}
	if p.encoder == textTower {
		t.textsAsked, t.textsLeft = t.textsAsked+asked, t.textsLeft+asked-len(q.Texts)
	}
	out, err := t.embedPass(ctx, p, b, q)
	if err != nil || m == nil {
		return out, err
	}
	return m.spread(out), nil
}

// spread gives every text of the pass its own rows, [place] → [text]. It frees what it takes them from.
func (m *merged) spread(own output) output {
	all := output{ticket: own.ticket, merged: m}
	for _, x := range []struct{ to, from **tensor.Tensor }{
		{&all.embedding, &own.embedding}, {&all.tokens, &own.tokens}, {&all.lengths, &own.lengths},
	} {
		from := *x.from
		if from == nil {
			continue
		}
		to := tensor.New(from.DType, append(tensor.Shape{len(m.place)}, from.Shape[1:]...)...)
		size := len(from.Data) / len(m.texts)
		for i, at := range m.place {
			copy(to.Data[i*size:(i+1)*size], from.Data[at*size:(at+1)*size])
		}
		*x.to = to
		from.Free()
	}
	return all
}

// gradient returns what goes back into a pass: the gradient itself or, of merged texts, the sum over equal ones, added up
// in float64 in the order of the texts. It is zero for texts of which nobody asked.
func (o output) gradient(all output) output {
	if o.merged == nil {
		return all
	}
	return output{embedding: o.merged.sum(all.embedding), tokens: o.merged.sum(all.tokens)}
}

func (m *merged) sum(all *tensor.Tensor) *tensor.Tensor {
	if all == nil {
		return nil
	}
	out := tensor.New(tensor.F32, append(tensor.Shape{len(m.texts)}, all.Shape[1:]...)...)
	size := out.Shape.Elements() / len(m.texts)
	sums, values := make([]float64, len(m.texts)*size), all.F32()
	for i, at := range m.place {
		row := sums[at*size : (at+1)*size]
		for j, v := range values[i*size : (i+1)*size] {
			row[j] += float64(v)
		}
	}
	for i, v := range sums {
		out.F32()[i] = float32(v)
	}
	return out
}
