package flips

import (
	"cmp"
	"context"
	"slices"

	"tandem/core/clip"
	"tandem/core/results/store"
)

// mostModels limits how many seeds of a side are read.
const mostModels = 10

// mostGuesses limits how many guesses of a model are kept for an example.
const mostGuesses = 3

// contrast holds what two sides guessed, example by example.
type contrast struct {
	keys   []string
	labels []int32
	sides  [2]side
	kinds  []kind  // by example
	order  []int32 // of the examples: the clearest first
	counts map[kind]int
}

// side holds the models of a variant, under one seed or several.
type side struct {
	Variant string
	Seeds   []int64
	Runs    []string
	models  []model
	without int // models whose predictions are of other examples
}

// model holds what one model said of each example: its first guesses, -1 for none, and the score of the very first.
type model struct {
	guesses [][mostGuesses]int32
	scores  []float32
}

// kind says how an example went with both sides.
type kind string

// The kinds. A side is right where more than half of its models are.
const (
	onlyA      kind = "a"
	onlyB      kind = "b"
	wrong      kind = "wrong"      // neither is right, and their commonest guesses differ
	wrongAlike kind = "wrong-same" // neither is right, and their commonest guess is the same
	right      kind = "right"
)

var kinds = []kind{onlyA, onlyB, wrong, wrongAlike, right}

// reader gives predictions; a store.Reader does.
type reader interface {
	Predictions(ctx context.Context, run, evaluation, target string, step int) ([]clip.Prediction, error)
}

// contrasted reads the predictions of two sides. Those of other examples than the first model's are left out and counted.
func contrasted(ctx context.Context, src reader, of [2][]store.Predicted) (*contrast, error) {
	c := &contrast{}
	for s, runs := range of {
		x := &c.sides[s]
		for _, p := range runs[:min(mostModels, len(runs))] {
			rows, err := src.Predictions(ctx, p.RunID, p.Evaluation, p.Target, p.Step)
			if err != nil {
				return nil, err
			}
			if c.keys == nil {
				for _, r := range rows {
					c.keys, c.labels = append(c.keys, r.Key), append(c.labels, r.Label)
				}
			}
			x.Variant = p.Variant
			if !c.same(rows) {
				x.without++
				continue
			}
			x.Seeds, x.Runs = append(x.Seeds, p.Seed), append(x.Runs, p.RunID)
			x.models = append(x.models, modelOf(rows))
		}
	}
	if len(c.sides[0].models) > 0 && len(c.sides[1].models) > 0 {
		c.sort()
	}
	return c, nil
}

func (c *contrast) same(rows []clip.Prediction) bool {
	if len(rows) != len(c.keys) {
		return false
	}
	for i, r := range rows {
		if r.Key != c.keys[i] || r.Label != c.labels[i] {
			return false
		}
	}
	return true
}

func modelOf(rows []clip.Prediction) model {
	m := model{make([][mostGuesses]int32, len(rows)), make([]float32, len(rows))}
	for i, r := range rows {
		for g := range mostGuesses {
			m.guesses[i][g] = -1
			if g < len(r.Top) {
				m.guesses[i][g] = r.Top[g]
			}
		}
		m.scores[i] = r.Score
	}
	return m
}

// vote counts the models of a side that made a first guess.
type vote struct {
	Class, Models int
	Score         float64 // mean
	Right         bool
}

// votes counts the first guesses for an example, the commonest first; of equally common ones the surest.
func (s *side) votes(example int, label int32) (all []vote) {
	for _, m := range s.models {
		g := int(m.guesses[example][0])
		at := slices.IndexFunc(all, func(v vote) bool { return v.Class == g })
		if at < 0 {
			at = len(all)
			all = append(all, vote{Class: g, Right: g >= 0 && int32(g) == label})
		}
		all[at].Models++
		all[at].Score += float64(m.scores[example])
	}
	for i := range all {
		all[i].Score /= float64(all[i].Models)
	}
	slices.SortStableFunc(all, func(x, y vote) int {
		return cmp.Or(y.Models-x.Models, cmp.Compare(y.Score, x.Score), x.Class-y.Class)
	})
	return all
}

// share returns the share of a side's models that have an example right, and their commonest guess.
func (s *side) share(example int, label int32) (share float64, commonest int) {
	votes := s.votes(example, label)
	for _, v := range votes {
		if v.Right {
			share = float64(v.Models) / float64(len(s.models))
		}
	}
	return share, votes[0].Class
}

// sort finds the kinds of all examples and orders them: by how far the sides are apart, then by how sure they are.
func (c *contrast) sort() {
	c.kinds, c.counts = make([]kind, len(c.keys)), map[kind]int{}
	apart, sure := make([]float64, len(c.keys)), make([]float64, len(c.keys))
	for i, label := range c.labels {
		if label < 0 {
			continue
		}
		a, guessA := c.sides[0].share(i, label)
		b, guessB := c.sides[1].share(i, label)
		k := right
		switch {
		case a > .5 && b <= .5:
			k = onlyA
		case a <= .5 && b > .5:
			k = onlyB
		case a <= .5 && guessA == guessB:
			k = wrongAlike
		case a <= .5:
			k = wrong
		}
		c.kinds[i] = k
		c.counts[k]++
		apart[i] = max(a-b, b-a)
		for s := range c.sides {
			for _, m := range c.sides[s].models {
				sure[i] += float64(m.scores[i]) / float64(len(c.sides[s].models))
			}
		}
		c.order = append(c.order, int32(i))
	}
	slices.SortStableFunc(c.order, func(x, y int32) int {
		return cmp.Or(cmp.Compare(apart[y], apart[x]), cmp.Compare(sure[y], sure[x]))
	})
}

// found returns the examples of which a side's first model guesses class first, the closest first, and how many of the class it takes for
// another.
func (c *contrast) found(s int, class int) (hits []int, missed int) {
	m := c.sides[s].models[0]
	for i := range c.keys {
		switch is := int(m.guesses[i][0]) == class; {
		case is:
			hits = append(hits, i)
		case int(c.labels[i]) == class:
			missed++
		}
	}
	slices.SortStableFunc(hits, func(x, y int) int { return cmp.Compare(m.scores[y], m.scores[x]) })
	return hits, missed
}

// texts returns the classes under whose texts the sides' first models find most that the other does not, the first few.
func (c *contrast) texts(most int) []int {
	differ := map[int]int{}
	for i, label := range c.labels {
		a, b := int(c.sides[0].models[0].guesses[i][0]), int(c.sides[1].models[0].guesses[i][0])
		if label >= 0 && a != b {
			for _, class := range []int{a, b} {
				if class >= 0 {
					differ[class]++
				}
			}
		}
	}
	var all []int
	for class := range differ {
		all = append(all, class)
	}
	slices.SortFunc(all, func(x, y int) int { return cmp.Or(differ[y]-differ[x], x-y) })
	return all[:min(most, len(all))]
}

// labelled returns the classes that are labels.
func (c *contrast) labelled() (classes []int) {
	for _, label := range c.labels {
		if label >= 0 {
			classes = append(classes, int(label))
		}
	}
	slices.Sort(classes)
	return slices.Compact(classes)
}
