package main

import (
	"slices"

	"tandem/core/fault"
	"tandem/core/plugin/sdk/sample"
	"tandem/core/random"
	"tandem/plugins/datasets/emoji/catalog"
)

// pickNegatives makes a set draw captions of other emoji as negatives: of those among its pictures, so that nothing is
// learned of test emoji, first of the same subgroup, then of the same group, then of any. Emoji of one identity differ
// in gender or skin tone only and are no negatives of one another; nor is a bird one of a duck that is tagged bird.
func (c Config) pickNegatives(set *sample.Set, emoji []catalog.Emoji, pictures []picture) error {
	set.Negatives = c.Negatives
	if c.Negatives == 0 {
		return nil
	}
	var present []int
	for _, p := range pictures {
		if len(present) == 0 || present[len(present)-1] != p.emoji { // those of an emoji stand together
			present = append(present, p.emoji)
		}
	}
	near := map[int][][]int{} // by emoji: others, the nearest kinds first
	for _, i := range present {
		kinds := make([][]int, 3)
		n := 0
		for _, j := range present {
			a, b := emoji[i], emoji[j]
			switch {
			case a.Identity == b.Identity || a.Label == b.Label || slices.Contains(a.Tags, b.Label):
				continue
			case a.Subgroup == b.Subgroup && a.Group == b.Group:
				kinds[0] = append(kinds[0], j)
			case a.Group == b.Group:
				kinds[1] = append(kinds[1], j)
			default:
				kinds[2] = append(kinds[2], j)
			}
			n++
		}
		if n < c.Negatives {
			return fault.New(fault.Invalid, "%d, but %q has only %d other emoji beside it", c.Negatives, emoji[i].Label, n).WithPath("with.negatives")
		}
		near[i] = kinds
	}
	set.Negative = func(i int, s *random.Stream) []string {
		own := pictures[i].emoji
		var out []string
		for _, kind := range near[own] {
			for _, at := range s.Perm(len(kind)) {
				if len(out) < c.Negatives {
					out = append(out, c.drawNegative(emoji[own], emoji[kind[at]], s))
				}
			}
		}
		return out
	}
	return nil
}

// drawNegative draws a caption of another emoji, without the tags that are true of the own one.
func (c Config) drawNegative(own, other catalog.Emoji, s *random.Stream) string {
	other.Tags = slices.DeleteFunc(slices.Clone(other.Tags), func(tag string) bool { return tag == own.Label || slices.Contains(own.Tags, tag) })
	return c.drawCaption(other, other.Label, s)
}
