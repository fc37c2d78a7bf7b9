package train

import (
	"context"
	"math/rand/v2"
	"slices"

	"tandem/core/clip"
	"tandem/core/fault"
	"tandem/core/tensor"
)

// place points at a sample of a step's batch.
type place struct {
	*micro
	at int
}

// replaceUnreadable puts other samples in the places of those that cannot be read. It draws them by seed and step among the
// samples of the same source that the batch does not have, so that no pair is in the batch twice; of the other sources
// only where that one has no more. They do not depend on what was read before.
func (t *Trainer) replaceUnreadable(ctx context.Context, step int, micros microBatches) error {
	var open []place
	for _, m := range micros {
		for at, index := range m.indices {
			if m.isUnreadable(index) {
				open = append(open, place{m, at})
			}
		}
	}
	if len(open) == 0 {
		return nil
	}
	draw := t.drawSpares(step, micros)
	for len(open) > 0 {
		indices, epochs := make([]int, 0, len(open)), make([]int, 0, len(open))
		for _, p := range open {
			index, ok := draw(t.plan.Find(p.indices[p.at]))
			if !ok {
				break
			}
			indices, epochs = append(indices, index), append(epochs, p.epochs[p.at])
		}
		if len(indices) < len(open) && len(indices) == 0 {
			f := open[0].Faults[0]
			return fault.New(fault.Corrupt, "a batch of %d samples cannot be filled: too few of the %d can be read; sample %d (%s): %s",
				t.cfg.BatchSize, t.plan.Len(), f.Index, f.Key, f.Msg).
				WithHint("mend the data, or lower train.batch_size")
		}
		b, err := t.batch(ctx, t.ask(indices), epochs)
		if err != nil {
			return err
		}
		bad := faultsOf(b)
		for i, index := range indices {
			if _, isBad := bad[index]; !isBad {
				source := t.plan.Find(index)
				to := max(0, slices.IndexFunc(open, func(p place) bool { return t.plan.Find(p.indices[p.at]) == source }))
				open[to].take(b, i, index)
				open = slices.Delete(open, to, to+1)
			}
		}
		freeAll([]*tensor.Tensor{b.Images, b.Images2})
	}
	return nil
}

// drawSpares draws the samples of a source that a step's batch does not have, in a random order, and when there are no
// more those of other sources. It returns false when there are none at all.
func (t *Trainer) drawSpares(step int, micros microBatches) func(source int) (int, bool) {
	const purpose = 0x7370617265 // "spare": keeps this stream apart from others of the same seed
	rng := rand.New(rand.NewPCG(t.cfg.Seed^purpose, uint64(step)))
	used, usedOf := map[int]bool{}, make([]int, len(t.cfg.Sources))
	use := func(index int) {
		if !used[index] {
			used[index] = true
			usedOf[t.plan.Find(index)]++
		}
	}
	for _, m := range micros {
		for _, index := range m.indices {
			use(index)
		}
	}
	for _, m := range micros { // those that were replaced before in this step
		for _, f := range m.lost {
			use(f.Index)
		}
	}
	return func(source int) (int, bool) {
		first, behind := t.plan.Range(source)
		for other := 0; usedOf[source] >= behind-first; other++ {
			if other == len(usedOf) {
				return 0, false
			}
			source = other
			first, behind = t.plan.Range(source)
		}
		n := behind - first
		at := rng.IntN(n)
		for range 64 {
			if !used[first+at] {
				break
			}
			at = rng.IntN(n)
		}
		for used[first+at] { // nearly all are: the next that is not
			at = (at + 1) % n
		}
		use(first + at)
		return first + at, true
	}
}

// isUnreadable reports whether a sample of the batch could not be read, so that nothing of its place may be used.
func (m *micro) isUnreadable(index int) bool {
	for _, f := range m.Faults {
		if f.Index == index {
			return true
		}
	}
	return false
}

// take puts sample i of b, which has the index, in a place of the batch.
func (p place) take(b *clip.Batch, i, index int) {
	m, at := p.micro, p.at
	gone := m.indices[at]
	kept := m.Faults[:0:0]
	for _, f := range m.Faults {
		if f.Index == gone {
			m.lost = append(m.lost, f)
		} else {
			kept = append(kept, f)
		}
	}
	m.Faults = kept
	m.indices[at] = index
	if m.elsewhere {
		return
	}
	m.Captions[at], m.Keys[at] = b.Captions[i], b.Keys[i]
	if at < len(m.Groups) && i < len(b.Groups) {
		m.Groups[at] = b.Groups[i]
	}
	if m.Negatives != nil {
		m.Negatives[at] = b.Negatives[i]
	}
	picture := rowOf(b.Images, i)
	if m.Images2 != nil {
		copy(rowOf(m.Images2, at), rowOf(b.Images2, i))
	}
	if m.Images != nil {
		copy(m.Images.Data[at*len(picture):], picture)
		return
	}
	for _, s := range m.shown {
		for j, shownAt := range s.at {
			if shownAt == at {
				copy(s.images.Data[j*len(picture):], picture)
				return
			}
		}
	}
	one := tensor.New(b.Images.DType, append([]int{1}, b.Images.Shape[1:]...)...)
	copy(one.Data, picture)
	m.shown = append(m.shown, shown{[]int{at}, one})
}

// rowOf returns the bytes of the first dimension's element i.
func rowOf(t *tensor.Tensor, i int) []byte {
	size := len(t.Data) / t.Shape[0]
	return t.Data[i*size : (i+1)*size]
}

// faultsOf returns the faults of a batch by index.
func faultsOf(b *clip.Batch) map[int]clip.SampleFault {
	out := map[int]clip.SampleFault{}
	for _, f := range b.Faults {
		out[f.Index] = f
	}
	return out
}
