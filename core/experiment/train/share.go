package train

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"slices"

	"tandem/core/clip"
	"tandem/core/experiment/mixture"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// newElsewhere returns a micro-batch whose samples another rank has.
func newElsewhere(picks []mixture.Pick) *micro {
	m := &micro{Batch: &clip.Batch{}, elsewhere: true}
	for _, x := range picks {
		m.indices, m.epochs = append(m.indices, x.Index), append(m.epochs, x.Epoch)
	}
	return m
}

// completeBatch brings the ranks together over a step's batch. What any of them cannot read is replaced by what one rank
// would have drawn for the whole batch. err is what went wrong on this rank, errStopped included; a stop of any stops all.
func (t *Trainer) completeBatch(ctx context.Context, micros microBatches, err error) error {
	own := t.ranks.own(micros)
	mine := word{Stop: errors.Is(err, errStopped)}
	if mine.Stop {
		err = nil
	} else if err == nil {
		for _, m := range own {
			mine.Faults = append(mine.Faults, m.Faults...)
		}
		mine.Tokens, err = t.countTokens(ctx, own)
	}
	words, err := t.meet(ctx, mine, err)
	switch {
	case err != nil:
		return err
	case slices.ContainsFunc(words, func(w word) bool { return w.Stop }):
		return errStopped
	case slices.ContainsFunc(words, func(w word) bool { return len(w.Faults) > 0 }):
		if words, err = t.replaceTogether(ctx, micros, words); err != nil {
			return err
		}
	}
	t.ranks.tokens = addTokenCounts(words)
	t.uncounted = t.ranks.tokens == nil
	return nil
}

// replaceTogether does what replaceUnreadable does, on all ranks alike: the micro-batches of others lack only what they hold.
// It returns the words of the ranks about the batch as it is then.
func (t *Trainer) replaceTogether(ctx context.Context, micros microBatches, words []word) ([]word, error) {
	for i, m := range micros {
		switch faults := words[i/t.ranks.count].Faults; {
		case m.elsewhere:
			m.Faults = slices.DeleteFunc(slices.Clone(faults), func(f clip.SampleFault) bool { return !slices.Contains(m.indices, f.Index) })
		case len(m.Faults) > 0: // its pictures may be on their way to a device already
			m.id = pictures.Add(2)
			m.id2 = m.id - 1
		}
	}
	err := t.replaceUnreadable(ctx, t.state.Step, micros)
	mine := word{}
	if err == nil {
		mine.Tokens, err = t.countTokens(ctx, t.ranks.own(micros))
	}
	return t.meet(ctx, mine, err)
}

// addTokenCounts adds up what all ranks count; nil when any does not.
func addTokenCounts(words []word) *tokenCounts {
	var sum tokenCounts
	for i, w := range words {
		if w.Tokens == nil {
			return nil
		}
		sum.Captions, sum.Cut, sum.Blank = sum.Captions+w.Tokens.Captions, sum.Cut+w.Tokens.Cut, sum.Blank+w.Tokens.Blank
		sum.Context = max(sum.Context, w.Tokens.Context)
		if i == 0 || w.Tokens.Longest > sum.Longest {
			sum.Longest, sum.Text = w.Tokens.Longest, w.Tokens.Text
		}
	}
	return &sum
}

// gather returns the outputs of the whole batch, given those of this rank's part.
func (t *Trainer) gather(ctx context.Context, own []output) ([]output, error) {
	if !t.ranks.many() {
		return own, nil
	}
	whole := make([]output, len(own))
	for k, o := range own {
		for _, x := range []struct {
			whole **tensor.Tensor
			own   *tensor.Tensor
		}{
			{&whole[k].embedding, o.embedding}, {&whole[k].tokens, o.tokens}, {&whole[k].lengths, o.lengths},
		} {
			if x.own == nil {
				continue
			}
			shape := slices.Clone(x.own.Shape)
			shape[0] *= t.ranks.size
			*x.whole = tensor.New(x.own.DType, shape...)
			if err := t.gatherInto(ctx, *x.whole, x.own); err != nil {
				return nil, err
			}
		}
	}
	return whole, nil
}

func (t *Trainer) gatherInto(ctx context.Context, whole, own *tensor.Tensor) error {
	if own.DType == tensor.F32 {
		return t.cfg.Group.GatherFloats(ctx, own.F32(), whole.F32())
	}
	parts, err := t.cfg.Group.Gather(ctx, own.Data)
	if err != nil {
		return err
	}
	if all := slices.Concat(parts...); copy(whole.Data, all) != len(all) || len(all) != len(whole.Data) {
		return fault.New(fault.Internal, "the ranks gather %d bytes, want %d", len(all), len(whole.Data))
	}
	return nil
}

// labels holds what says which samples belong together, by micro-batch.
type labels struct {
	Captions [][]string
	Groups   [][]int64
}

// tellCaptions gives every rank the captions and groups of the whole batch.
func (t *Trainer) tellCaptions(ctx context.Context, micros microBatches) error {
	if !t.ranks.many() {
		return nil
	}
	var mine labels
	for _, m := range t.ranks.own(micros) {
		mine.Captions, mine.Groups = append(mine.Captions, m.Captions), append(mine.Groups, m.Groups)
	}
	var data bytes.Buffer
	if err := gob.NewEncoder(&data).Encode(mine); err != nil { // captions need not be UTF-8, as JSON would have them
		return fault.New(fault.Internal, "captions: %w", err)
	}
	parts, err := t.cfg.Group.Gather(ctx, data.Bytes())
	if err != nil {
		return err
	}
	for rank, part := range parts {
		var theirs labels
		if err := gob.NewDecoder(bytes.NewReader(part)).Decode(&theirs); err != nil {
			return fault.New(fault.Internal, "captions of rank %d: %w", rank, err)
		}
		for i, m := range micros[rank*t.ranks.count : (rank+1)*t.ranks.count] {
			if m.elsewhere {
				m.Captions, m.Groups = theirs.Captions[i], theirs.Groups[i]
			}
		}
	}
	return nil
}
