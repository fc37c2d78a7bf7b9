package main

import "slices"

var (
	numbers = []string{"one", "two", "three", "four"}
	inverse = map[string]string{"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
)

// phrase names a kind of things: "two small red circles", "an orange square".
func (w *world) phrase(k kind) string {
	name := w.Colours[k.colour] + " " + w.Shapes[k.shape]
	if len(w.Sizes) > 1 {
		name = w.Sizes[k.size] + " " + name
	}
	switch {
	case k.count == 1 && slices.Contains([]byte("aeiou"), name[0]):
		return "an " + name
	case k.count == 1:
		return "a " + name
	}
	name = numbers[k.count-1] + " " + name
	if w.Shapes[k.shape] == "cross" {
		return name + "es"
	}
	return name + "s"
}

// caption says what a scene shows.
func (w *world) caption(s scene) string {
	if !s.two {
		return w.phrase(s.kinds[0])
	}
	return w.phrase(s.kinds[0]) + " " + w.Relations[s.relation] + " " + w.phrase(s.kinds[1])
}

// reversed says the same of a scene of two kinds, beginning with the second.
func (w *world) reversed(s scene) string {
	return w.phrase(s.kinds[1]) + " " + inverse[w.Relations[s.relation]] + " " + w.phrase(s.kinds[0])
}

// captions returns all captions of a scene. With two kinds there are two, unless Relations lacks the word for the second.
func (w *world) captions(s scene) []string {
	if s.two && slices.Contains(w.Relations, inverse[w.Relations[s.relation]]) {
		return []string{w.caption(s), w.reversed(s)}
	}
	return []string{w.caption(s)}
}

// canonical returns one caption for all scenes that show the same: of two ways to say it the first by the alphabet.
func (w *world) canonical(s scene) string {
	return slices.Min(w.captions(s))
}

// negatives returns captions with one thing exchanged, which are wrong of the scene: between its two kinds or, where it has one,
// for every other value. At least one comes back.
func (w *world) negatives(s scene) []string {
	var out []string
	add := func(n scene) {
		text := w.caption(n)
		if text != w.caption(s) && (!s.two || text != w.reversed(s)) && !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	for _, rule := range w.NegativeRules {
		if rule == "relation" {
			if s.two {
				n := s
				n.kinds[0], n.kinds[1] = s.kinds[1], s.kinds[0]
				add(n)
			}
			continue
		}
		if s.two {
			n := s
			a, b := attribute(&n.kinds[0], rule), attribute(&n.kinds[1], rule)
			*a, *b = *b, *a
			add(n)
			continue
		}
		for value := range w.values(rule) {
			n := s
			*attribute(&n.kinds[0], rule) = value
			if rule == "count" {
				n.kinds[0].count++
			}
			add(n)
		}
	}
	if len(out) == 0 { // the rules have nothing to exchange here
		n := s
		n.kinds[0].colour = (n.kinds[0].colour + 1) % len(w.Colours)
		add(n)
	}
	return out
}

// attribute returns the field that a rule exchanges.
func attribute(k *kind, rule string) *int {
	switch rule {
	case "colour":
		return &k.colour
	case "shape":
		return &k.shape
	case "size":
		return &k.size
	}
	return &k.count
}

// values returns how many values an attribute has in captions.
func (w *world) values(rule string) int {
	switch rule {
	case "colour":
		return len(w.Colours)
	case "shape":
		return len(w.Shapes)
	case "size":
		return len(w.Sizes)
	}
	return w.MaxCount
}
