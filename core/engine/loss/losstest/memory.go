package losstest

import (
	"context"
	"math"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/loss"
	"tandem/core/tensor"
)

// MemoryGrowsWithTheBatch holds a loss that computes in blocks to it: of the first case of Trial's file, twice the pairs may
// take little more than twice the memory, where all logits of a batch would take four times as much.
func MemoryGrowsWithTheBatch(t *testing.T, file string, define loss.Define) {
	t.Helper()
	for _, c := range read(t, file) {
		taken := func(pairs int) (sum float64) {
			large := c.repeated(pairs)
			l := large.open(t, define, "host", loss.WithBlocks(24*pairs))
			if _, err := l.Compute(context.Background(), large.request()); err != nil {
				t.Fatal(err)
			}
			for _, part := range l.Memory() {
				if part.Name == "activations" || part.Name == "workspace" {
					sum += float64(part.Bytes)
				}
			}
			return sum
		}
		if few, many := taken(192), taken(384); many > 2.4*few {
			t.Errorf("%s: 192 pairs take %.0f KiB, 384 take %.0f", c.With, few/1024, many/1024)
		}
	}
}

// repeated makes a batch of so many pairs out of those of c, every number a little different.
func (c batch) repeated(pairs int) batch {
	large := batch{With: c.With, Inputs: map[string]array{}}
	rows := c.Inputs["image"].Shape[0]
	for name, a := range c.Inputs {
		b := array{Shape: append([]int{a.Shape[0] / rows * pairs}, a.Shape[1:]...)}
		b.Values = make([]float64, tensor.Shape(b.Shape).Elements())
		for i := range b.Values {
			b.Values[i] = a.Values[i%len(a.Values)]
			if name != clip.InputGroups {
				b.Values[i] += math.Sin(float64(i)) / 100
			}
		}
		for i := range b.Shape[0] {
			if a.Lengths != nil {
				b.Lengths = append(b.Lengths, a.Lengths[i%rows])
			}
		}
		large.Inputs[name] = b
	}
	return large
}
