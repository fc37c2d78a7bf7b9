package losstest

import (
	"maps"
	"slices"
	"testing"

	"tandem/core/clip"
	"tandem/core/engine/graph"
	"tandem/core/engine/loss"
)

// planted builds the loss with one sign wrong, wherever there is one to get wrong: that of an input, of a scalar, of a part.
// The first check of Trial must find each of them in one batch at least.
func planted(t *testing.T, cases []batch, define loss.Define) {
	minus := func(n *graph.Node) *graph.Node { return graph.Scale(n, -1, 0) }
	errors := map[string]func(*loss.Batch){
		"image": func(b *loss.Batch) { b.Image = minus(b.Image) },
		"text":  func(b *loss.Batch) { b.Text = minus(b.Text) },
	}
	for _, c := range cases {
		for name := range c.Inputs {
			if clip.DifferentiableInput(name) || name == clip.InputTeacherImage || name == clip.InputTeacherText {
				errors[name] = func(b *loss.Batch) {
					right := b.Input
					b.Input = func(asked string) *graph.Node {
						if asked == name {
							return minus(right(asked))
						}
						return right(asked)
					}
				}
			}
		}
		for name := range c.Scalars {
			errors["scalar "+name] = func(b *loss.Batch) { b.Scalars[name] = minus(b.Scalars[name]) }
		}
	}
	wrong := map[string]loss.Define{}
	for name, plant := range errors {
		wrong[name] = changed(define, func(d *loss.Definition) {
			right := d.Build
			d.Build = func(b loss.Batch) []loss.Part { plant(&b); return right(b) }
		})
	}
	for _, c := range cases {
		for name := range c.Parts {
			wrong["part "+name] = changed(define, func(d *loss.Definition) {
				right := d.Build
				d.Build = func(b loss.Batch) []loss.Part {
					parts := right(b)
					for i := range parts {
						if parts[i].Name == name {
							parts[i].Losses = minus(parts[i].Losses)
						}
					}
					return parts
				}
			})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(wrong)) {
		found := slices.ContainsFunc(cases, func(c batch) bool {
			return len(c.complaints(t, c.open(t, wrong[name], "host", Double), 1e-5)) > 0
		})
		if !found {
			t.Errorf("the sign of %s is wrong, and no batch shows it", name)
		}
	}
}
